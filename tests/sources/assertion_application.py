"""The examples of docs/how-to/assertion.md as applications: their code blocks, run as they are written there.

    python assertion_application.py django|flask GATEWAY ISSUER

The addresses of the page are replaced by those of a running gateway, and the route's name by the example's; around the blocks
is only what a project has anyway, and a view that tells what it was told. Prints its port as JSON when it listens, and ends
when its standard input does.
"""

import json
import os
import re
import sys
import tempfile
import threading
import types
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

HEADER = "X-Gateway-Assertion"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "assertion.md"


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def blocks(heading: str, gateway: str, issuer: str, route: str) -> list[str]:
    """The code of one section."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    code = re.findall(r"```python\n(.*?)```", section, re.S)
    assert code, heading
    replaced = {"http://gateway:8080": gateway, "https://shop.example": issuer, 'audience="app"': f'audience="{route}"'}
    for old, new in replaced.items():
        assert old in code[0], old
        code[0] = code[0].replace(old, new)
    return code


def django(code: list[str], folder: Path) -> Any:
    """`shop.gateway` is the first block; the second one changes the settings."""
    import django.conf
    import django.core.management
    import django.core.wsgi
    import django.http
    import django.urls

    def tell(request: Any) -> Any:
        told = {"user": request.user.username, "groups": request.groups, "assertion": request.headers[HEADER]}
        return django.http.JsonResponse(told)

    names: dict[str, Any] = {"MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware"]}
    exec(code[1], names)
    django.conf.settings.configure(
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="a secret of nobody",
        ROOT_URLCONF="shop.urls",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MIDDLEWARE=names["MIDDLEWARE"],
        AUTHENTICATION_BACKENDS=names["AUTHENTICATION_BACKENDS"],
    )
    module("shop", "")
    module("shop.gateway", code[0])
    module("shop.urls", "").urlpatterns = [django.urls.re_path("", tell)]
    application = django.core.wsgi.get_wsgi_application()
    django.core.management.call_command("migrate", verbosity=0)
    return application


def flask(code: list[str], folder: Path) -> Any:
    import flask

    made = module("example", code[0])
    made.app.add_url_rule(
        "/<path:anything>",
        view_func=lambda anything: {
            "user": flask.g.user,
            "groups": flask.g.groups,
            "assertion": flask.request.headers[HEADER],
        },
    )
    return made.app


def module(name: str, code: str) -> Any:
    """A module with this code, as if it were imported."""
    made = types.ModuleType(name)
    exec(compile(code, name, "exec"), made.__dict__)
    sys.modules[name] = made
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, made)
    return made


def main(name: str, gateway: str, issuer: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make = {"django": django, "flask": flask}[name]
        application = make(blocks(name.capitalize(), gateway, issuer, name), Path(folder))
        server = make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Quiet)
        print(json.dumps({"http": server.server_port}), flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
