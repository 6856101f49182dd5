"""A reverse proxy before a real server: it asks for a password, or says that nothing is behind it."""

from __future__ import annotations

import select
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def gateway(*, behind: int = 0, user: str = "", status: int = 0, answer: bytes = b"") -> Iterator[int]:
    """Hand what comes on to the port ``behind``, and give back the own port.

    ``user`` is USER:PASSWORD, without which nobody is let in. A ``status`` is answered to all instead, or 200 and
    ``answer``.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if user and self.headers.get("Authorization") != f"Basic {b64encode(user.encode()).decode()}":
                self.send_error(401)
            elif answer:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)
            elif status:
                self.send_error(status)
            else:
                self._hand_on(body)

        do_POST = do_GET

        def _hand_on(self, body: bytes) -> None:
            headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            with socket.create_connection(("127.0.0.1", behind)) as server:
                server.sendall(f"{self.requestline}\r\n{headers}\r\n".encode() + body)
                _join(self.connection, server)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy.server_port
        finally:
            proxy.shutdown()


def _join(one: socket.socket, other: socket.socket) -> None:
    """Bring everything from each to the other until one ends."""
    while True:
        for each in select.select([one, other], [], [])[0]:
            if not (content := each.recv(1 << 16)):
                return
            (other if each is one else one).sendall(content)
