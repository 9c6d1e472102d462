# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on a free local port that answers what a test scripted."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Optional
from urllib.parse import parse_qs, urlsplit


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: Dict[str, List[str]]
    body: Any


@dataclass
class Scripted:
    """An answer: JSON when `body` is no text. `chunks` are sent one by one instead."""

    status: int
    body: Any = None
    chunks: Optional[List[str]] = None
    stall: bool = False


class FakeDaemon:
    """Answers requests in the order of `answer` calls and remembers them in `seen`."""

    def __init__(self) -> None:
        self.seen: List[Seen] = []
        self.script: List[Scripted] = []
        self.closing = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def handle_one(self) -> None:
                fake._handle(self)

            do_GET = do_POST = do_PUT = do_DELETE = handle_one

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(
        self, status: int, body: Any = None, chunks: Optional[List[str]] = None
    ) -> None:
        self.script.append(Scripted(status, body, chunks))

    def stall(self) -> None:
        """The next request is read and never answered."""
        self.script.append(Scripted(0, stall=True))

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        raw = handler.rfile.read(length)
        url = urlsplit(handler.path)
        query = parse_qs(url.query, keep_blank_values=True, errors="surrogateescape")
        body = json.loads(raw) if raw else None
        self.seen.append(Seen(handler.command, url.path, query, body))
        scripted = self.script.pop(0)
        if scripted.stall:
            self.closing.wait()
            handler.close_connection = True
            return
        handler.send_response(scripted.status)
        if scripted.chunks is not None:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for chunk in [*scripted.chunks, ""]:
                data = chunk.encode()
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                handler.wfile.flush()
            return
        payload = _encode(scripted.body)
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)


def _encode(body: Any) -> bytes:
    if body is None:
        return b""
    return (body if isinstance(body, str) else json.dumps(body) + "\n").encode()
