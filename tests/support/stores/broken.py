"""A web server that breaks on purpose: ``python -m tests.support.stores.broken PORT DIRECTORY``.

It serves the files of a directory with ranges and ETags, and takes PUTs; how the next requests
fare is told by ``POST /!faults`` with a list of words as JSON, one for each; what follows works:

- ``503``, or another status: that and nothing else
- ``lost-reply``: a PUT is carried out and its connection breaks
- ``truncated``: half the body, then the connection breaks
- ``stalled``: half the body, then nothing
- ``wrong-range``: other bytes than were asked for, and the header says so
- ``no-range``: status 200 and the whole file
- ``reset``: the connection breaks before anything was done
- ``slow``: half a second late

``GET /!asked`` tells how many requests came, faulty ones included.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections import deque
from pathlib import Path

from aiohttp import web

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Broken:
    """The server's state: what is to go wrong."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.faults: deque[str] = deque()
        self.asked = 0

    async def control(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/!faults":
            self.faults = deque(await request.json())
            self.asked = 0
        return web.json_response({"asked": self.asked, "left": list(self.faults)})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        fault = self.faults.popleft() if self.faults else ""
        if fault.isdigit():
            return web.Response(status=int(fault))
        if fault == "reset":
            return self._break(request)
        if fault == "slow":
            await asyncio.sleep(0.5)
        path = self.directory / request.path.lstrip("/")
        if request.method == "PUT":
            content = await request.read()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return self._break(request) if fault == "lost-reply" else web.Response(status=201)
        if path.is_dir():
            return self._index(request, path)
        if not path.is_file():
            return web.Response(status=404)
        return await self._file(request, path.read_bytes(), fault)

    def _index(self, request: web.Request, path: Path) -> web.StreamResponse:
        if not request.path.endswith("/"):
            return web.Response(status=301, headers={"location": request.path + "/"})
        rows = (f'<a href="{entry.name}{"/" * entry.is_dir()}">x</a>' for entry in path.iterdir())
        return web.Response(text="".join(rows), content_type="text/html")

    async def _file(self, request: web.Request, data: bytes, fault: str) -> web.StreamResponse:
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        headers = {"etag": etag, "accept-ranges": "bytes"}
        if request.headers.get("if-match", etag) != etag:
            return web.Response(status=412)
        status, start, stop = 200, 0, len(data)
        found = _RANGE.fullmatch(request.headers.get("range", ""))
        if found and fault != "no-range":
            start, stop = int(found[1]), min(int(found[2] or len(data)) + 1, len(data))
            if start >= len(data):
                return web.Response(status=416, headers={"content-range": f"bytes */{len(data)}"})
            if fault == "wrong-range":
                start, stop = (0, stop - start) if start else (1, stop)
            headers["content-range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            status = 206
        body = data[start:stop]
        headers["content-length"] = str(len(body))
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        if fault in ("truncated", "stalled"):
            await response.write(body[: len(body) // 2])
            if fault == "stalled":
                await asyncio.sleep(3600)
            return self._break(request, response)
        await response.write(body)
        return response

    def _break(
        self, request: web.Request, response: web.StreamResponse | None = None
    ) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return response or web.Response()


def main(port: int, directory: Path) -> None:
    """Serve until it is ended."""
    broken = Broken(directory)
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/!{name}", broken.control)
    application.router.add_route("*", "/{path:.*}", broken.serve)
    web.run_app(application, host="127.0.0.1", port=port, print=None, shutdown_timeout=0.5)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
