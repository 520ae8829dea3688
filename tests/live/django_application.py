"""A Django project in one file, as its owner would have it: `RemoteUserMiddleware` believes a header, the users are in a database.

Served by wsgiref, which folds header names as every WSGI server does: `X_User` and `X-User` are one name to it. It prints
its port as JSON when it listens, and ends when its standard input does.
"""

import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.middleware import RemoteUserMiddleware
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path


class GatewayUserMiddleware(RemoteUserMiddleware):
    """All that a Django project needs to stand behind the gateway."""

    header = "HTTP_X_USER"


def who(request: HttpRequest) -> JsonResponse:
    user: Any = request.user
    return JsonResponse(
        {
            "user": user.get_username(),
            "is_authenticated": user.is_authenticated,
            "groups": request.META.get("HTTP_X_USER_GROUPS"),
            "authorization": request.META.get("HTTP_AUTHORIZATION"),
            "is_secure": request.is_secure(),
            "id": user.pk,
        }
    )


@login_required
def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {request.user.get_username()} only")


def form(request: HttpRequest) -> JsonResponse:
    upload = request.FILES["document"]
    return JsonResponse({"title": request.POST["title"], "bytes": upload.size, "method": request.method})


def lines(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse((f"line {number}\n" for number in range(1000)), content_type="text/plain")


def cookie(request: HttpRequest) -> HttpResponse:
    answer = HttpResponse("set")
    answer.set_cookie("theme", "dark")
    answer.set_cookie("language", "en")
    return answer


urlpatterns = [
    path("django/who", who),
    path("django/private", private),
    path("django/form", form),
    path("django/lines", lines),
    path("django/cookie", cookie),
    path("django/public/who", who),
]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def configure(folder: Path) -> None:
    settings.configure(
        SECRET_KEY="for tests only",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            f"{__name__}.GatewayUserMiddleware",
        ],
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
    )
    django.setup()
    call_command("migrate", verbosity=0)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder))
        server = make_server("127.0.0.1", 0, get_wsgi_application(), server_class=Server, handler_class=Handler)
        print(json.dumps({"http": server.server_port}), flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
