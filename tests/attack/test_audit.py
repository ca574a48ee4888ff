"""What attackers leave behind in the audit log, and what they cannot leave there."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from memfs.errors import AccessDeniedError, NotPermittedError
from memfs.logs import JsonFormatter
from memfs.protocol import messages as m
from memfs.testing.in_process import Cluster
from tests.attack.certificates import Authority
from tests.attack.conftest import SUPERUSER, in_sync
from tests.attack.test_identities import meet, user
from tests.attack.test_strangers import hello
from tests.golden.samples import sample

pytestmark = pytest.mark.usefixtures("heard")


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "memfs.audit")


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The lines as they are written."""
    form = JsonFormatter({})
    written = [form.format(each) for each in caplog.records if each.name == "memfs.audit"]
    assert all(line.isascii() and line.isprintable() for line in written)
    return [json.loads(line) for line in written]


async def test_refusals_are_told(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"certificates": str(authority.node()), "proxy_users": ("gateway",), "audit": "deny"}
    async with Cluster(
        1, replication=1, memory=64 << 20, socket_directory="", **settings
    ) as cluster:
        owner = await cluster.connect(certificates=str(authority.user(SUPERUSER)))
        await owner.write_bytes("/secret", b"s")
        await owner.chmod("/secret", 0o600)
        mallory = user(authority, "mallory")
        with pytest.raises(AccessDeniedError):
            await meet(cluster, mallory, hello(user="alice"))
        connection = await meet(cluster, mallory, hello(user="mallory"))
        attempts = [
            m.GetBlocks(b"/secret"),
            m.Create(b'/x\n{"allowed": true}'),
            m.SetWeight(1, 0),
            sample(m.DiscardBlocks, "request"),
            m.Lookup(b"/secret"),
        ]
        for number, request in enumerate(attempts, 1):
            refused = not isinstance(request, m.Lookup)
            call = connection.call(request, request_id=number, timeout=30, epoch=0)
            answer = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(answer[0], (AccessDeniedError, NotPermittedError)) is refused
        behalf = await meet(cluster, user(authority, "gateway"), hello(user="alice"))
        with pytest.raises(AccessDeniedError):
            await behalf.call(m.GetBlocks(b"/secret"), request_id=1, timeout=30, epoch=0)
        for each in (connection, behalf):
            each.close("done")
    lines = told(caplog)
    assert [(each["user"], each["real_user"], each["operation"]) for each in lines] == [
        ("alice", "mallory", "Hello"),
        ("mallory", "", "GetBlocks"),
        ("mallory", "", "Create"),
        ("mallory", "", "SetWeight"),
        ("mallory", "", "DiscardBlocks"),
        ("alice", "gateway", "GetBlocks"),
    ]
    assert {each["address"] for each in lines} == {"127.0.0.1"}
    assert not any(each["allowed"] for each in lines)
    assert [each["path"] for each in lines[:3]] == ["", "/secret", '/x\n{"allowed": true}']


async def test_the_primary_tells_what_it_allowed(caplog: pytest.LogCaptureFixture) -> None:
    async with Cluster(2, memory=64 << 20, audit="on") as cluster:
        async with asyncio.timeout(30):
            await in_sync(cluster)
        fs = await cluster.connect(user="alice")
        with pytest.raises(AccessDeniedError):
            await fs.mkdir("/a")
        with pytest.raises(FileNotFoundError):
            await fs.stat("/b")
        owner = await cluster.connect(user=SUPERUSER)
        await owner.mkdir("/a")
    lines = [each for each in told(caplog) if each["operation"] in ("MakeDirectory", "Lookup")]
    assert [(each["user"], each["path"], each["allowed"], each["result"]) for each in lines] == [
        ("alice", "/a", False, "AccessDeniedError"),
        ("alice", "/b", True, "PathNotFoundError"),
        (SUPERUSER, "/a", True, "ok"),
    ]
