"""A gateway behind nginx that ends TLS, by the example in ``deploy``: nothing gets in the way."""

from __future__ import annotations

import email
import http.client
import os
import socket
import ssl
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_served import JAVA, Answer, Served

from memfs.gateway.server import Gateway
from memfs.testing.ports import free_port
from tests.support.certificates import Certificates
from tests.support.debian import program
from tests.support.patience import PATIENCE_SECONDS, until

EXAMPLE = Path(__file__).parents[2] / "deploy" / "proxy" / "nginx.conf"
SIZE = 3_000_001
MAIN = """\
{user}
daemon off;
pid {directory}/pid;
error_log {directory}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/memfs.conf;
}}
"""


@contextmanager
def nginx(directory: Path, port: int, gateway: Gateway, tls: Certificates) -> Iterator[None]:
    """The example as it stands, but for addresses and files."""
    example = EXAMPLE.read_text()
    for theirs, ours in (
        ("127.0.0.1:9870", str(gateway.endpoint)),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("server_name files.example.com", "server_name localhost"),
        ("/etc/nginx/tls/files.example.com.pem", str(tls.server_certificate)),
        ("/etc/nginx/tls/files.example.com.key", str(tls.server_key)),
    ):
        assert theirs in example
        example = example.replace(theirs, ours)
    (directory / "memfs.conf").write_text(example)
    user = "user root;" if os.getuid() == 0 else ""
    (directory / "nginx.conf").write_text(MAIN.format(user=user, directory=directory))
    tool = program("nginx", "nginx-light")
    command = [tool, "-p", str(directory), "-c", str(directory / "nginx.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as server:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert server.poll() is None, server.communicate()[1]
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield
        finally:
            server.terminate()


class Proxied:
    """Requests by curl to the proxy, and the cluster behind it."""

    def __init__(self, served: Served, port: int, tls: Certificates) -> None:
        self.served = served
        self.base = f"https://localhost:{port}"
        self.address = ("127.0.0.1", port)
        self.tls = tls

    def url(self, path: str, op: str, **more: object) -> str:
        query = urllib.parse.urlencode({"op": op, "user.name": "root"} | more)
        return f"{self.base}/webhdfs/v1{urllib.parse.quote(path)}?{query}"

    def curl(self, url: str, *flags: str, data: bytes = b"") -> Answer:
        """The last answer, redirects followed where ``flags`` say so."""
        command = ["curl", "-sS", "-i", "--cacert", str(self.tls.authority), *flags, url]
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=PATIENCE_SECONDS, check=True
        )
        head, body = b"", done.stdout
        while body.startswith(b"HTTP/"):
            head, _, body = body.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = email.message_from_string("\n".join(lines[1:]), http.client.HTTPMessage)
        return Answer(int(lines[0].split()[1]), headers, body)

    @contextmanager
    def raw(self) -> Iterator[ssl.SSLSocket]:
        """A connection of one's own."""
        context = ssl.create_default_context(cafile=str(self.tls.authority))
        with (
            socket.create_connection(self.address, timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            yield connection


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    directory = tmp_path_factory.mktemp("nginx")
    tls, port = Certificates(directory / "tls"), free_port()
    served = Served(advertise=(f"https://localhost:{port}",))
    try:
        with nginx(directory, port, served.gateway, tls):
            yield Proxied(served, port, tls)
    finally:
        served.close()


def test_two_steps_lead_through_the_proxy_again(proxied: Proxied) -> None:
    data = os.urandom(SIZE)
    first = proxied.curl(proxied.url("/two", "CREATE"), "-X", "PUT")
    assert first.status == 307
    assert first.headers["Location"].startswith(f"{proxied.base}/webhdfs/v1/two?")
    made = proxied.curl(first.headers["Location"], "-T", "-", data=data)  # in chunks
    assert (made.status, proxied.served.read("/two")) == (201, data)
    assert made.headers["Location"] == f"s{proxied.base.replace('https', 'webhdfs')}/two"
    java = [f"-H{name}: {value}" for name, value in JAVA.items()]
    opened = proxied.curl(proxied.url("/two", "OPEN"), *java)
    assert opened.status == 307
    assert opened.headers["Location"].startswith(f"{proxied.base}/webhdfs/v1/two?")
    assert proxied.curl(f"{opened.headers['Location']}&offset=7").body == data[7:]
    assert proxied.curl(proxied.url("/two", "OPEN"), "-L", *java).body == data


def test_one_step_ranges_and_tags(proxied: Proxied) -> None:
    data = os.urandom(SIZE)
    made = proxied.curl(proxied.url("/one", "CREATE"), "-T", "-", data=data)
    assert made.status == 201
    part = proxied.curl(proxied.url("/one", "OPEN"), "-r", "10-19")
    assert (part.status, part.body) == (206, data[10:20])
    tag = f"-HIf-None-Match: {part.headers['ETag']}"
    assert proxied.curl(proxied.url("/one", "OPEN"), tag).status == 304
    head = proxied.curl(proxied.url("/one", "OPEN"), "-I")
    assert (head.status, head.headers["Content-Length"]) == (200, str(SIZE))


def test_names_arrive_as_they_were_sent(proxied: Proxied) -> None:
    for name in ("a b", "ä", "100%", "a%20b", "q?#", "plus+", "semi;colon", "a&b=c"):
        assert proxied.curl(proxied.url(f"/names/{name}", "MKDIRS"), "-X", "PUT").status == 200
        assert proxied.served.exists(f"/names/{name}"), name
    with proxied.raw() as connection:  # Java's client encodes no letters
        connection.sendall(
            "GET /webhdfs/v1/names/ä?op=GETFILESTATUS&user.name=root HTTP/1.1\r\n"
            "Host: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_an_upload_that_breaks_off_leaves_nothing(proxied: Proxied) -> None:
    head = (
        "PUT /webhdfs/v1/broken/{}?op=CREATE&user.name=root&data=true HTTP/1.1\r\n"
        "Host: {}\r\nContent-Type: application/octet-stream\r\n{}\r\n\r\n"
    )
    host = proxied.base.partition("://")[2]
    for number, kind in enumerate(("Content-Length: 900000", "Transfer-Encoding: chunked")):
        with proxied.raw() as connection:
            connection.sendall(head.format(number, host, kind).encode())
            connection.sendall(b"61a80\r\n" + bytes(400_000) + b"\r\n")
            until(lambda: proxied.served.gateway.shared.uploads == 1)
        until(lambda: proxied.served.gateway.shared.uploads == 0)
        assert not proxied.served.exists(f"/broken/{number}")


def test_refusals_come_before_the_body_has_gone(proxied: Proxied) -> None:
    proxied.served.write("/there", b"x")
    answer = proxied.curl(
        proxied.url("/there", "CREATE"), "-T", "-", "--limit-rate", "1M", data=bytes(20_000_000)
    )
    assert (answer.status, answer.exception) == (403, "FileAlreadyExistsException")


def test_only_webhdfs_is_let_through(proxied: Proxied) -> None:
    for path in ("/metrics", "/readyz", "/"):
        assert proxied.curl(proxied.base + path).status == 404
