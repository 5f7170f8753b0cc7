"""A server of files on this machine, whose manners a test decides."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Server:
    """What a server on 127.0.0.1 answers, and what it was asked: (path, first byte asked for)."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    ends_after: list[int] = field(default_factory=list)  # bytes of the file, one for each request
    status: dict[str, list[int]] = field(default_factory=dict)  # errors, one for each request
    other_range: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)
    port: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, name = self.told, self.path[1:]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        server.asked.append((name, first))
        self.close_connection = True
        if server.status.get(name):
            self.send_error(server.status[name].pop(0))
            return
        if name not in server.files:
            self.send_error(404)
            return
        content = server.files[name]
        if server.ranges and asked:
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            start = first + int(server.other_range)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            first = 0
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        last = server.ends_after.pop(0) if server.ends_after else len(content)
        self.wfile.write(content[first:last])


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    """The server while it runs."""
    told = Server(files)
    handler = type("Handler", (_Handler,), {"told": told})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        told.port = running.server_address[1]
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield told
        running.shutdown()
        thread.join()
