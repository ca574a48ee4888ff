"""Web servers for the tests: nginx with a page for each directory, and the one that breaks."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memfs.testing.ports import free_port
from tests.support.debian import program
from tests.support.environments import TOP
from tests.support.stores.processes import Server, listens

_NGINX = """
user {user};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
  access_log {directory}/access.log;
  types {{ text/html html; }}
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2;
  fastcgi_temp_path {directory}/t3; uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}; autoindex on; }}
}}
"""


@contextlib.contextmanager
def nginx(directory: Path, root: Path) -> Iterator[str]:
    """Debian's nginx over the files below ``root``; its URL."""
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        _NGINX.format(user=getpass.getuser(), directory=directory, port=port, root=root)
    )
    command = [program("nginx", "nginx-light"), "-p", str(directory), "-c", str(config)]
    with Server(command, directory / "nginx.log", lambda: listens(port)):
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True)
class BrokenServer:
    """The server that breaks on purpose, over the files of ``root``."""

    url: str
    root: Path

    def faults(self, *words: str) -> None:
        """How the next requests fare."""
        self._control("!faults", words)

    def asked(self) -> int:
        """Requests since the last :meth:`faults`."""
        return int(self._control("!asked")["asked"])

    def _control(self, name: str, words: Sequence[str] | None = None) -> Any:
        body = None if words is None else json.dumps(list(words)).encode()
        with urllib.request.urlopen(f"{self.url}/{name}", body, timeout=10) as reply:
            return json.load(reply)


@contextlib.contextmanager
def broken(directory: Path) -> Iterator[BrokenServer]:
    """A process of :mod:`tests.support.stores.broken`."""
    port, root = free_port(), directory / "files"
    root.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.support.stores.broken", str(port), str(root)]
    paths = {"PYTHONPATH": f"{TOP}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with Server(command, directory / "broken.log", lambda: listens(port), paths):
        yield BrokenServer(f"http://127.0.0.1:{port}", root)
