"""Serves the Django project in `shop/` by wsgiref, which folds header names as WSGI servers do: `X_User` is `X-User`.

It prints its port as JSON when it listens, and ends when its standard input does.
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

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "shop.settings", "SHOP_DATABASE": str(Path(folder) / "db.sqlite3")}
        application = get_wsgi_application()
        call_command("migrate", verbosity=0)
        server = make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Handler)
        print(json.dumps({"http": server.server_port}), flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
