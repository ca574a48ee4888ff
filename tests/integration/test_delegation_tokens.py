"""Delegation tokens over a real cluster in this process: issue, renewal, expiry, failed nodes."""

from __future__ import annotations

import asyncio
import time

import pytest

from memfs.errors import InvalidTokenError, NotPermittedError
from memfs.security.delegation_tokens import SECURE_KIND, Token, TokenIdentifier
from memfs.testing.in_process import Cluster


async def test_a_token_from_issue_to_cancellation():
    async with Cluster(nodes=2) as cluster:
        ann = await cluster.connect(user="ann")
        yarn = await cluster.connect(user="yarn")
        token = await ann.get_delegation_token("yarn", kind=SECURE_KIND)
        assert Token.from_url(token.to_url()) == token
        for fs in (ann, yarn):
            found = await fs.verify_delegation_token(token.to_url())
            assert found[:3] == ("ann", "yarn", "")
        with pytest.raises(NotPermittedError):
            await ann.renew_delegation_token(token)
        day = 86_400_000
        end = await yarn.renew_delegation_token(token)
        assert abs(end - day - time.time() * 1000) < 10_000
        latest = TokenIdentifier.decode(token.identifier).latest_ms
        assert abs(latest - 7 * day - time.time() * 1000) < 10_000
        await yarn.cancel_delegation_token(token)
        with pytest.raises(InvalidTokenError):
            await ann.verify_delegation_token(token)


async def test_a_token_ends_by_the_clock():
    async with Cluster(nodes=1, replication=1, token_renew_seconds=1.0) as cluster:
        fs = await cluster.connect(user="ann")
        token = await fs.get_delegation_token()
        await fs.verify_delegation_token(token)
        await asyncio.sleep(1.1)
        with pytest.raises(InvalidTokenError, match="expired"):
            await fs.verify_delegation_token(token)


async def test_a_token_of_a_cluster_that_lost_a_backup():
    async with Cluster(nodes=3, replication=2) as cluster:
        fs = await cluster.connect(user="root")
        token = await fs.get_delegation_token("yarn", owner="ann", real_user="oozie")
        await cluster.kill(2)
        found = await fs.verify_delegation_token(token)
        assert found[:3] == ("ann", "yarn", "oozie")


async def test_no_client_adds_a_key():
    from memfs.protocol import messages as m

    async with Cluster(nodes=1, replication=1) as cluster:
        fs = await cluster.connect(user="root")
        with pytest.raises(NotPermittedError):
            await fs._session.ask(m.AddTokenKey(bytes(32), 1, 1), "")
