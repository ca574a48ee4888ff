"""Who asks: names, proxies, tokens, TLS, browsers; and which gateway is asked."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import logging
import os
import re
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_served import JAVA, Served

from memfs.config import ClientConfig, GatewayConfig
from memfs.errors import ConfigError, UnavailableError
from memfs.gateway.auth.user_sessions import UserSessions
from memfs.gateway.server import Gateway
from memfs.paths import Endpoint
from memfs.types import Identity
from tests.support.certificates import Certificates
from tests.support.patience import PATIENCE_SECONDS

_numbers = itertools.count()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served(
        proxy_users="hue,livy@10.0.0.1,knox@127.0.0.1",
        user_groups="alice=staff+supergroup,bob=staff",
        system_groups=False,
        group_rule="cluster",  # so that it shows which groups a user is taken to have
    )
    yield served
    served.close()


@pytest.fixture
def top(served: Served) -> str:
    """A directory that everybody may write in."""
    path = f"/users-{next(_numbers)}"
    served.mkdir(path)
    served.run(served.fs.chmod(path, 0o777))
    return path


def owner(served: Served, path: str) -> tuple[str, str]:
    status = served.get(path, "GETFILESTATUS").json["FileStatus"]
    return status["owner"], status["group"]


def test_refusals_say_what_hdfs_says(served: Served, top: str) -> None:
    """Programs read them: who asked for what, and the inode that refuses with owner and mode."""
    served.run(served.fs.chmod(top, 0o755))
    served.mkdir(f"{top}/closed/below")
    served.write(f"{top}/closed/below/file", b"x")
    served.mkdir(f"{top}/names")
    served.write(f"{top}/names/file", b"x")
    served.write(f"{top}/file", b"x")
    served.mkdir(f"{top}/sticky")
    served.write(f"{top}/sticky/file", b"x")
    for path, mode in (
        ("closed", 0o700),
        ("names", 0o744),
        ("file", 0o640),
        ("sticky", 0o1777),
        ("sticky/file", 0o644),
    ):
        served.run(served.fs.chmod(f"{top}/{path}", mode))
    owners = ":".join(owner(served, top))
    closed = f'inode="{top}/closed":{owners}:drwx------'
    names = f'inode="{top}/names":{owners}:drwxr--r--'
    parent = f'inode="{top}":{owners}:drwxr-xr-x'
    file = f'inode="{top}/file":{owners}:-rw-r-----'
    for answer, access in (
        (served.get(f"{top}/closed/below/x", "GETFILESTATUS", user="eve"), f"EXECUTE, {closed}"),
        (served.get(f"{top}/closed/below/file", "OPEN", user="eve"), f"EXECUTE, {closed}"),
        (served.put(f"{top}/closed/x", "CREATE", b"", user="eve"), f"EXECUTE, {closed}"),
        (served.get(f"{top}/closed", "LISTSTATUS", user="eve"), f"READ_EXECUTE, {closed}"),
        (served.get(f"{top}/names", "LISTSTATUS", user="eve"), f"READ_EXECUTE, {names}"),
        (served.get(f"{top}/closed", "LISTSTATUS_BATCH", user="eve"), f"READ_EXECUTE, {closed}"),
        (served.get(f"{top}/closed", "GETCONTENTSUMMARY", user="eve"), f"READ_EXECUTE, {closed}"),
        (
            served.get(f"{top}/file", "CHECKACCESS", user="eve", fsaction="rw-"),
            f"READ_WRITE, {file}",
        ),
        (served.get(f"{top}/file", "OPEN", user="eve"), f"READ, {file}"),
        (served.put(f"{top}/file", "CREATE", b"", user="eve", overwrite=True), f"WRITE, {file}"),
        (served.post(f"{top}/file", "APPEND", b"y", user="eve"), f"WRITE, {file}"),
        (served.put(f"{top}/x/y", "MKDIRS", user="eve"), f"WRITE, {parent}"),
        (served.put(f"{top}/x/y", "CREATE", b"", user="eve"), f"WRITE, {parent}"),
        (served.delete(f"{top}/file", user="eve"), f"WRITE, {parent}"),
    ):
        assert (answer.status, answer.exception) == (403, "AccessControlException")
        assert answer.message == f"Permission denied: user=eve, access={access}"
    mode = served.put(f"{top}/file", "SETPERMISSION", user="eve", permission="777")
    assert mode.message == f"Permission denied. user=eve is not the owner of inode={top}/file"
    kept = served.delete(f"{top}/sticky/file", user="eve")
    assert kept.message == (
        f'Permission denied by sticky bit: user=eve, path="{top}/sticky/file":{owners}:-rw-r--r--, '
        f'parent="{top}/sticky":{owners}:drwxrwxrwt'
    )
    quota = served.put(top, "SETQUOTA", user="eve", namespacequota=5)
    assert quota.message == "Access denied for user eve. Superuser privilege is required"


def test_files_belong_to_whom_the_request_names(served: Served, top: str) -> None:
    assert served.put(f"{top}/a", "CREATE", b"x", user="bob").status == 201
    assert owner(served, f"{top}/a") == ("bob", "staff")
    assert served.put(f"{top}/b", "CREATE", b"x", user="").status == 201
    assert owner(served, f"{top}/b") == ("dr.who", "dr.who")


def test_the_group_is_the_directorys_or_as_the_cluster_says(served: Served, top: str) -> None:
    """As HDFS for whatever a request makes; native clients and others get the cluster's rule."""
    served.run(served.fs.chown(top, group="project"))
    as_hadoop = served.start(user_groups="bob=staff")
    for port, name, group in (
        (as_hadoop.endpoint.port, "hadoop", "project"),
        (served.port, "posix", "staff"),
    ):
        for path, operation in ((name, "MKDIRS"), (f"{name}/in/between/f", "CREATE")):
            made = served.put(f"{top}/{path}", operation, b"x", user="bob", port=port)
            assert made.status in (200, 201)
        linked = served.put(
            f"{top}/{name}/l", "CREATESYMLINK", user="bob", destination=top, port=port
        )
        assert linked.status == 200
        for path in (name, f"{name}/in", f"{name}/in/between", f"{name}/in/between/f"):
            assert owner(served, f"{top}/{path}") == ("bob", group), path
        link = served.get(f"{top}/{name}/l", "GETFILELINKSTATUS").json["FileStatus"]
        assert link["group"] == group
    served.stop(as_hadoop)


def test_groups_count(served: Served, top: str) -> None:
    assert served.put("/by-alice", "MKDIRS", user="alice").status == 200  # of the supergroup
    assert served.put("/by-bob", "MKDIRS", user="bob").exception == "AccessControlException"
    assert served.put(f"{top}/a", "CREATE", b"x", user="bob", permission="640").status == 201
    assert served.get(f"{top}/a", "OPEN", user="eve").status == 403


def test_names_that_are_none(served: Served) -> None:
    refused = served.get("/", "GETFILESTATUS", user="a/b")
    assert (refused.status, refused.exception) == (400, "IllegalArgumentException")
    assert 'parameter "user.name"' in refused.message


@pytest.mark.parametrize(
    ("asking", "allowed"), [("hue", True), ("knox", True), ("livy", False), ("eve", False)]
)
def test_doas(served: Served, top: str, asking: str, allowed: bool) -> None:
    answer = served.put(f"{top}/a", "CREATE", b"x", user=asking, doas="bob")
    if allowed:
        assert owner(served, f"{top}/a") == ("bob", "staff")
        assert served.get("/", "GETHOMEDIRECTORY", user=asking, doas="bob").json["Path"] == (
            "/user/bob"
        )
    else:
        assert (answer.status, answer.exception) == (403, "AuthorizationException")
        assert answer.message == f"User: {asking} is not allowed to impersonate bob"


def test_a_redirect_remembers_who_asked(served: Served, top: str) -> None:
    first = served.put(f"{top}/a", "CREATE", user="hue", doas="bob")
    location = urllib.parse.urlsplit(first.headers["Location"])
    target = f"{location.path}?{location.query}"
    assert served.request("PUT", target, b"x").status == 201
    assert owner(served, f"{top}/a") == ("bob", "staff")


def test_browsers_need_the_header_to_change_something(served: Served, top: str) -> None:
    browser = {"User-Agent": "Mozilla/5.0"}
    assert served.put(f"{top}/d", "MKDIRS", headers=browser).status == 400
    assert served.get(top, "GETFILESTATUS", headers=browser).status == 200
    assert served.put(f"{top}/d", "MKDIRS", headers=browser | {"X-XSRF-HEADER": ""}).status == 200
    assert served.put(f"{top}/e", "MKDIRS", headers={"User-Agent": "curl/8"}).status == 200
    form = {"Origin": "http://evil.example"}
    assert served.ask("POST", top, "APPEND", b"x", form).status == 400
    assert served.get("/", "GETDELEGATIONTOKEN", headers=browser).status == 400
    image = {"Sec-Fetch-Site": "cross-site", "User-Agent": "another"}
    assert served.get("/", "GETDELEGATIONTOKEN", headers=image).status == 400


def test_requests_for_another_name_are_refused(served: Served, top: str) -> None:
    evil = {"Host": "evil.example"}
    answer = served.put(f"{top}/d", "MKDIRS", headers=evil)
    assert (answer.status, answer.exception) == (403, "SecurityException")
    assert "allowed_hosts" in answer.message and not served.exists(f"{top}/d")
    assert served.request("GET", "/metrics", headers=evil).status == 403
    assert served.request("GET", "/readyz", headers=evil).status == 200


def test_no_page_of_another_site_may_read(served: Served) -> None:
    answer = served.get("/", "GETFILESTATUS", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


# --- sessions ------------------------------------------------------------------------------------


def test_idle_sessions_are_bounded(served: Served) -> None:
    async def crowd() -> tuple[int, int]:
        sessions = UserSessions(served.fs.config, limit=3)
        async with contextlib.AsyncExitStack() as taken:
            for number in range(8):
                user = Identity(f"u{number}")
                seat = await taken.enter_async_context(sessions.user_session(user))
            full = len(sessions)
            assert await taken.enter_async_context(sessions.user_session(Identity("u7"))) is seat
        kept = len(sessions)
        await sessions.close()
        return full, kept

    assert served.run(crowd()) == (8, 3)


def test_a_gateway_without_a_cluster_says_so(served: Served) -> None:
    gateway = Gateway(GatewayConfig(port=0), ClientConfig(endpoints=(Endpoint("127.0.0.1", 1),)))
    with pytest.raises(UnavailableError, match=re.escape("127.0.0.1:1")):
        served.run(gateway.start())
    served.run(gateway.stop())


# --- delegation tokens ---------------------------------------------------------------------------


def token_of(served: Served, user: str, **more: object) -> str:
    answer = served.get("/", "GETDELEGATIONTOKEN", user=user, **more)
    assert answer.status == 200
    return str(answer.json["Token"]["urlString"])


def test_a_token_speaks_for_its_owner(served: Served, top: str) -> None:
    token = token_of(served, "bob", renewer="hue")
    answer = served.put(f"{top}/a", "CREATE", b"x", user="root", delegation=token, doas="eve")
    assert answer.status == 201
    assert owner(served, f"{top}/a") == ("bob", "staff")
    again = served.get("/", "GETDELEGATIONTOKEN", user="", delegation=token)
    assert (again.status, again.exception) == (403, "IOException")


def test_a_redirect_carries_the_token(served: Served, top: str) -> None:
    token = token_of(served, "bob")
    first = served.put(f"{top}/a", "CREATE", user="", delegation=token)
    location = urllib.parse.urlsplit(first.headers["Location"])
    target = f"{location.path}?{location.query}"
    assert served.request("PUT", target, b"x").status == 201
    assert owner(served, f"{top}/a") == ("bob", "staff")


def test_tokens_are_good_at_every_gateway(served: Served) -> None:
    other = served.start()
    try:
        token = token_of(served, "bob")
        home = served.get("/", "GETHOMEDIRECTORY", port=other.endpoint.port, delegation=token)
        assert home.json == {"Path": "/user/bob"}
    finally:
        served.stop(other)


def test_tokens_are_renewed_by_their_renewer(served: Served) -> None:
    token = token_of(served, "bob", renewer="hue")
    answer = served.put("/", "RENEWDELEGATIONTOKEN", user="hue", token=token)
    assert answer.json["long"] > time.time() * 1000
    for user in ("bob", "eve"):
        refused = served.put("/", "RENEWDELEGATIONTOKEN", user=user, token=token)
        assert (refused.status, refused.exception) == (403, "AccessControlException")


def test_cancelled_tokens_are_over(served: Served) -> None:
    token = token_of(served, "bob", renewer="hue")
    assert served.put("/", "CANCELDELEGATIONTOKEN", user="eve", token=token).status == 403
    answer = served.put("/", "CANCELDELEGATIONTOKEN", user="bob", token=token)
    assert (answer.status, answer.body) == (200, b"")
    assert_refused(served, token)


def assert_refused(served: Served, token: str) -> None:
    refused = served.get("/", "GETFILESTATUS", user="root", delegation=token)
    assert (refused.status, refused.exception) == (403, "SecurityException")
    assert refused.message.startswith(
        "Failed to obtain user group information: "
        "org.apache.hadoop.security.token.SecretManager$InvalidToken: "
    )


def test_forged_and_broken_tokens_are_refused(served: Served) -> None:
    token = token_of(served, "bob")
    flipped = "A" if token[20] != "A" else "B"
    for bad in (token[:-8], token[:20] + flipped + token[21:], "AAAA", "!", "x" * 5000):
        assert_refused(served, bad)
        refused = served.put("/", "RENEWDELEGATIONTOKEN", user="bob", token=bad)
        assert (refused.status, refused.exception) == (403, "InvalidToken")
    assert served.put("/", "CANCELDELEGATIONTOKEN").status == 400


# --- TLS -----------------------------------------------------------------------------------------


def test_tls(served: Served, tmp_path: Path) -> None:
    made = Certificates(tmp_path / "tls")
    gateway = served.start(
        tls_certificate=str(made.server_certificate), tls_key=str(made.server_key)
    )
    port = gateway.endpoint.port
    try:
        context = ssl.create_default_context(cafile=str(made.authority))
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
        data = os.urandom(3_000_000)  # more than a transport takes at once
        connection.request("PUT", "/webhdfs/v1/tls?op=CREATE&user.name=root&overwrite=true")
        response = connection.getresponse()
        response.read()
        location = urllib.parse.urlsplit(response.headers["Location"])
        assert (location.scheme, location.netloc) == ("https", f"localhost:{port}")
        connection.request("PUT", f"{location.path}?{location.query}", data)
        response = connection.getresponse()
        assert (response.status, response.read()) == (201, b"")
        connection.request("GET", "/webhdfs/v1/tls?op=OPEN&user.name=root")
        assert connection.getresponse().read() == data
        connection.close()
        plain = http.client.HTTPConnection("localhost", port, timeout=20)
        plain.request("GET", "/webhdfs/v1/?op=GETFILESTATUS")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain.getresponse()
        plain.close()
        with pytest.raises(ssl.SSLError):
            ssl.get_server_certificate(("127.0.0.1", served.port), timeout=20)
    finally:
        served.stop(gateway)


def test_a_certificate_that_is_none(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="tls_certificate"):
        served.start(tls_certificate=str(path))


# --- which gateway -------------------------------------------------------------------------------


def test_the_advertised_address(served: Served, top: str) -> None:
    gateway = served.start(advertise="gateway.example:1234,https://proxy.example")
    try:
        answer = served.put(f"{top}/a", "CREATE", port=gateway.endpoint.port)
        assert answer.headers["Location"].startswith("http://gateway.example:1234/webhdfs/v1/")
        proxied = {"Host": "proxy.example"}
        answer = served.put(f"{top}/a", "CREATE", headers=proxied, port=gateway.endpoint.port)
        assert answer.headers["Location"].startswith("https://proxy.example/webhdfs/v1/")
    finally:
        served.stop(gateway)


@pytest.mark.parametrize("host", ["a b", "evil/x", "x@y", "x:y", "<script>"])
def test_a_host_header_that_is_none_is_refused(served: Served, top: str, host: str) -> None:
    assert served.put(f"{top}/a", "CREATE", headers={"Host": host}).status == 403


@pytest.mark.parametrize("host", ["", "evil.example"])
def test_no_redirect_follows_a_foreign_host(served: Served, top: str, host: str) -> None:
    gateway = served.start(allowed_hosts="*")
    try:
        port = gateway.endpoint.port
        answer = served.put(f"{top}/a", "CREATE", headers={"Host": host}, port=port)
        assert answer.headers["Location"].startswith(f"http://127.0.0.1:{port}/webhdfs/v1/")
    finally:
        served.stop(gateway)


def test_readers_are_sent_to_the_gateway_beside_their_data(served: Served, top: str) -> None:
    served.write(f"{top}/a", bytes(100_000))
    (first, *_) = served.run(served.fs.block_locations(f"{top}/a"))
    other = served.start()
    address = f"127.0.0.1:{other.endpoint.port}"
    peers = ",".join(f"{name}={address}" for name in first.nodes)
    asked = served.start(peers=peers, system_groups=False, find_peers=False)

    async def move_away() -> None:
        """As if no node were on this gateway's host."""
        async with asked.shared.sessions.user_session(Identity("root", ())) as seat:
            seat.session.known.machine = "elsewhere"

    served.run(move_away())
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = served.get(f"{top}/a", "OPEN", headers=JAVA, port=asked.endpoint.port)
            if urllib.parse.urlsplit(answer.headers["Location"]).netloc == address:
                break
            assert time.monotonic() < deadline, "the other gateway was not found healthy"
            time.sleep(0.05)
        excluded = served.get(
            f"{top}/a", "OPEN", headers=JAVA, port=asked.endpoint.port, excludedatanodes=address
        )
        assert urllib.parse.urlsplit(excluded.headers["Location"]).port == asked.endpoint.port
        served.stop(other)
        while True:
            answer = served.get(f"{top}/a", "OPEN", headers=JAVA, port=asked.endpoint.port)
            if urllib.parse.urlsplit(answer.headers["Location"]).port == asked.endpoint.port:
                break
            assert time.monotonic() < deadline, "a dead gateway is still named"
            time.sleep(0.05)
    finally:
        served.stop(asked)


# --- audit ---------------------------------------------------------------------------------------


def test_the_audit_log(served: Served, top: str, caplog: pytest.LogCaptureFixture) -> None:
    gateway = served.start(audit="on", proxy_users="hue")
    port = gateway.endpoint.port
    try:
        with caplog.at_level(logging.INFO, "memfs.audit"):
            served.get(top, "GETFILESTATUS", user="bob", port=port)
            served.get("/x\ny\u2028", "GETFILESTATUS", port=port)
            served.put("/x", "MKDIRS", user="eve", port=port)
            served.get(top, "GETFILESTATUS", user="hue", doas="bob", port=port)
            served.get(top, "GETFILESTATUS", user="eve", doas="bob", port=port)
    finally:
        served.stop(gateway)
    lines = [record.memfs_fields for record in caplog.records if record.name == "memfs.audit"]
    assert [(each["user"], each["operation"], each["result"]) for each in lines] == [
        ("bob", "GETFILESTATUS", "ok"),
        ("root", "GETFILESTATUS", "FileNotFoundException"),
        ("eve", "MKDIRS", "AccessControlException"),
        ("bob", "GETFILESTATUS", "ok"),
        ("eve", "GETFILESTATUS", "AuthorizationException"),
    ]
    assert [each["allowed"] for each in lines] == [True, True, False, True, False]
    assert [each["real_user"] for each in lines] == ["", "", "", "hue", ""]
    assert json.dumps(lines[1])


def test_a_tree_with_a_closed_or_sticky_part_of_others_is_not_deleted(
    served: Served, top: str
) -> None:
    """As HDFS: what is below counts too, for whoever may remove the top's name."""
    served.run(served.fs.chmod(top, 0o777))
    for name, mode in (("closed", 0o700), ("sticky", 0o1777)):
        shared = f"{top}/{name}-tree"
        assert served.put(shared, "MKDIRS", user="alice2").status == 200
        served.run(served.fs.chmod(shared, 0o777))
        assert served.put(f"{shared}/{name}", "MKDIRS", user="bob").status == 200
        assert served.put(f"{shared}/{name}/thesis", "CREATE", b"x" * 100, user="bob").status == 201
        served.run(served.fs.chmod(f"{shared}/{name}", mode))
        served.run(served.fs.chmod(f"{shared}/{name}/thesis", 0o600))
        for user in ("alice2", "eve"):
            answer = served.delete(shared, user=user, recursive=True)
            assert (answer.status, answer.exception) == (403, "AccessControlException"), user
            assert f"{shared}/{name}" in answer.message
        if name == "closed":
            for user in ("alice2", "eve"):
                summary = served.get(shared, "GETCONTENTSUMMARY", user=user)
                assert (summary.status, summary.exception) == (403, "AccessControlException")
        assert served.read(f"{shared}/{name}/thesis") == b"x" * 100
    whole = served.delete(f"{top}/closed-tree", user="alice", recursive=True)
    assert whole.json == {"boolean": True}, "the superuser may"
