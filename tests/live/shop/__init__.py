"""A Django project as its owner would have it: `RemoteUserMiddleware` believes a header, the users are in a database."""
