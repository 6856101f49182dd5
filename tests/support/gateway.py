"""A reverse proxy in front of a real server, which can ask for a password or answer with an error."""

from __future__ import annotations

import select
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def gateway(*, behind: int = 0, user: str = "", status: int = 0, answer: bytes = b"", only: str = "/") -> Iterator[int]:
    """Forward requests to the port ``behind``. Yields the port of the gateway.

    ``user`` is USER:PASSWORD; if set, clients must send it. With ``status`` or ``answer``, every request whose path
    starts with ``only`` gets that status, or 200 and that body, instead.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if user and self.headers.get("Authorization") != f"Basic {b64encode(user.encode()).decode()}":
                self.send_error(401)
            elif answer and self.path.startswith(only):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)
            elif status and self.path.startswith(only):
                self.send_error(status)
            else:
                self._forward(body)

        do_POST = do_HEAD = do_GET

        def _forward(self, body: bytes) -> None:
            headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            with socket.create_connection(("127.0.0.1", behind)) as server:
                server.sendall(f"{self.requestline}\r\n{headers}\r\n".encode() + body)
                _connect(self.connection, server)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy.server_port
        finally:
            proxy.shutdown()


def _connect(one: socket.socket, other: socket.socket) -> None:
    """Copy data in both directions until one side closes."""
    while True:
        for each in select.select([one, other], [], [])[0]:
            if not (content := each.recv(1 << 16)):
                return
            (other if each is one else one).sendall(content)
