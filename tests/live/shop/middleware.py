"""All that the project has of its own for the gateway: which header names the user."""

from django.contrib.auth.middleware import RemoteUserMiddleware


class GatewayUserMiddleware(RemoteUserMiddleware):
    header = "HTTP_X_USER"
