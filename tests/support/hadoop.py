"""Hadoop's own clients for the tests: PySpark's jars from PyPI, Java from Debian, the shell in one
JVM.

Owns their download into the test kit's cache and one running ``FsShell``. Knows nothing of memfs:
an address is all that the clients get. Invariant: a directory with the final name is complete;
several processes may ask at once. What cannot be had is a RuntimeError.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from memfs.machine import module_command
from memfs.testing.started import Started
from tests.support.debian import cache_directory, install, run

NEWEST = "4.3.0"
"""PySpark with Hadoop 3.5.0."""
OLDER = "3.5.7"
"""PySpark with Hadoop 3.3.4."""
JAVA_VERSIONS = (17, 21)
"""What both of them run on."""
_DRIVER = Path(__file__).with_name("FsShellLines.java")
_JARS = ("hadoop-client-*", "slf4j-api-*", "jcl-over-slf4j-*", "log4j-*")


def pyspark(version: str = NEWEST) -> Path:
    """A directory for ``PYTHONPATH`` with that PySpark, fetched from PyPI if need be."""
    cache = cache_directory()
    final = cache / f"pyspark-{version}"
    with (cache / "pyspark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            _fetch(version, cache, final)
    return final


def _fetch(version: str, cache: Path, final: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="pip-", dir=cache))
    try:
        pip = module_command("pip", "install", "--quiet", "--disable-pip-version-check")
        run([*pip, f"--target={work / 'site'}", f"pyspark=={version}"])
        (work / "site").rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def java_home() -> Path:
    """A Java development kit that Hadoop runs on, installed from Debian when there is none.

    Raises RuntimeError when it cannot be had.
    """
    found = next(_kits(), None)
    if found is None:
        install(*(f"openjdk-{version}-jdk-headless" for version in JAVA_VERSIONS))
        found = next(_kits(), None)
    if found is None:
        raise RuntimeError(f"no Java {' or '.join(map(str, JAVA_VERSIONS))}; set JAVA_HOME to one")
    return found


def _kits() -> Iterator[Path]:
    chosen = os.environ.get("JAVA_HOME")
    on_path = shutil.which("javac")
    candidates = [Path(chosen)] if chosen else []
    candidates += [Path(on_path).resolve().parent.parent] if on_path else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*"))
    for home in candidates:
        if (home / "bin" / "javac").exists() and _java_version(home) in JAVA_VERSIONS:
            yield home


def _java_version(home: Path) -> int:
    text = run([str(home / "bin" / "javac"), "-version"])
    found = re.search(r"javac (\d+)", text)
    return int(found[1]) if found else 0


def failover_settings(name: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Settings with which ``webhdfs://name/`` means any of several gateways on this machine."""
    provider = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
    addresses = {
        f"dfs.namenode.http-address.{name}.{each}": f"127.0.0.1:{port}"
        for each, port in ports.items()
    }
    return {
        "dfs.nameservices": name,
        f"dfs.ha.namenodes.{name}": ",".join(ports),
        f"dfs.client.failover.proxy.provider.{name}": provider,
        "dfs.http.client.retry.policy.enabled": "true",
        **addresses,
    }


class Ran(NamedTuple):
    """What a command did."""

    status: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Its output."""
        return self.out.decode()


def compiled(
    source: Path, directory: Path, settings: Mapping[str, str], version: str = NEWEST
) -> tuple[Path, str]:
    """Compile a Java program for Hadoop's clients; returns Java's home and the class path.

    Args: ``directory``, its own, for classes and ``core-site.xml``, which gets ``settings``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    home = java_home()
    jars = pyspark(version) / "pyspark" / "jars"
    names = [str(jar) for pattern in _JARS for jar in sorted(jars.glob(f"{pattern}.jar"))]
    classes = ":".join([str(directory), *names])
    (directory / "core-site.xml").write_text(_configuration(settings))
    run([f"{home}/bin/javac", "-cp", classes, "-d", str(directory), str(source)])
    return home, classes


def java_program(
    name: str, directory: Path, settings: Mapping[str, str], arguments: Sequence[str]
) -> str:
    """The output of a program of this directory, ``NAME.java``. Raises RuntimeError."""
    source = Path(__file__).with_name(f"{name}.java")
    home, classes = compiled(source, directory, settings)
    return run([f"{home}/bin/java", "-Xmx256m", "-cp", classes, name, *arguments])


class Shell(Started):
    """``hadoop fs``: every command in the same JVM. Use it with ``with``."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        *,
        version: str = NEWEST,
        user: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Args: ``directory``, its own, for configuration, log and classes; ``settings``, its
        ``core-site.xml``; ``version``, of PySpark; ``user``, as whom, "": who runs this;
        ``variables``, further ones of its environment."""
        home, classes = compiled(_DRIVER, directory, settings, version)
        self.log = directory / "shell.log"
        name = {"HADOOP_USER_NAME": user} if user else {}
        self._environment = os.environ | {"LC_ALL": "C.UTF-8"} | name | dict(variables or {})
        self._command = [f"{home}/bin/java", "-Xmx256m", "-cp", classes, _DRIVER.stem]
        self._process: subprocess.Popen[bytes] | None = None

    def set_up(self) -> None:
        """Start the JVM."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )

    def story(self) -> str:
        return self.log.read_text(errors="replace")

    def run(self, *arguments: str, given: bytes = b"") -> Ran:
        """One command, ``-ls`` and so on. Args: ``given``, its standard input."""
        assert self._process is not None, "a shell that was not started"
        assert self._process.stdin is not None and self._process.stdout is not None
        words = [given, *(each.encode() for each in arguments)]
        self._process.stdin.write(b" ".join(map(base64.b64encode, words)) + b"\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(b"reply "):
                _, status, out, err = line.rstrip(b"\n").split(b" ")
                return Ran(int(status), base64.b64decode(out), base64.b64decode(err))
        raise RuntimeError("the shell ended")

    def close(self) -> None:
        """End the JVM."""
        if self._process is None:
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _configuration(settings: Mapping[str, str]) -> str:
    properties = "".join(
        f"<property><name>{escape(name)}</name><value>{escape(value)}</value></property>\n"
        for name, value in settings.items()
    )
    return f"<configuration>\n{properties}</configuration>\n"
