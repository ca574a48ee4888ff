"""What operators ask of a cluster: through a session, or of one node alone.

Owns which requests these are, and exports the records that answer them. Must not know how anything
is shown, nor how requests travel.
"""

from __future__ import annotations

from collections.abc import Sequence

from memfs import limits
from memfs.client.batches.batching import path_batches
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.errors import UnavailableError
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.messages import (
    BlocksReply,
    BoundStatus,
    DepartedMember,
    FileReply,
    HealingStatus,
    LeavingStatus,
    MountRecord,
    NodeStateReply,
    NodeStatus,
    SetLimit,
    ShareUse,
    StatusReply,
    UserGroups,
    UserKeys,
)
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import BlockVersion, Identity, View

__all__ = [
    "AdminClient",
    "BlocksReply",
    "BoundStatus",
    "DepartedMember",
    "FileReply",
    "HealingStatus",
    "LeavingStatus",
    "MountRecord",
    "NodeClient",
    "NodeStateReply",
    "NodeStatus",
    "SetLimit",
    "ShareUse",
    "StatusReply",
    "UserGroups",
    "UserKeys",
]

NODE_SECONDS = 2.0
"""For a node to say what it knows."""
ROLE_SECONDS = 15.0
"""For a node to take the primary's role, or to pass it on."""
VERIFY_SECONDS = 300.0
_BATCH = limits.VERSIONS_PER_DISCARD // 2


class AdminClient:
    """A session, for what only operators ask."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # --- the cluster ------------------------------------------------------------------------

    async def status(self) -> StatusReply:
        """Nodes, their use and state, and the namespace's counts, as the primary sees them."""
        return await self._session.ask(m.GetStatus())

    async def mounts(self) -> tuple[MountRecord, ...]:
        """The first page of what is mounted where, with what is wrong with the stores now."""
        return (await self._session.ask(m.ListMounts(fresh=True))).mounts

    async def bounds(self) -> tuple[BoundStatus, ...]:
        """How much clients use of what the primary bounds per client."""
        return (await self._session.ask(m.GetBounds())).bounds

    async def decommission(self, number: int, *, cancel: bool, fewer_copies: bool) -> None:
        """Have a member go once it holds nothing that counts, or ``cancel`` that."""
        await self._session.ask(m.Decommission(number, cancel, fewer_copies))

    async def set_weight(self, number: int, weight: int) -> None:
        """Give a member another share of the blocks."""
        await self._session.ask(m.SetWeight(number, weight))

    async def rebalance(self) -> None:
        """Look for blocks to move."""
        await self._session.ask(m.Rebalance())

    # --- limits -----------------------------------------------------------------------------

    async def shares(self, number: int, heaviest: int) -> tuple[ShareUse, ...]:
        """What a member bounds for each user, and who has most. Raises RetryableError."""
        request = m.GetShares(heaviest)
        deadline = self._session.deadline()
        answer = await self._session.ask_member(number, request, deadline=deadline)
        return answer.record.shares

    async def limits(self) -> list[SetLimit]:
        """All limits that are set, by name and user."""
        found: list[SetLimit] = []
        while True:
            request = m.ListLimits(*found[-1][:2]) if found else m.ListLimits()
            reply = await self._session.ask(request)
            found += reply.limits
            if not reply.more:
                return found

    async def set_limit(self, name: str, value: int | None, user: str = "") -> None:
        """Set a limit of a user, or of everybody; None: take it back."""
        await self._session.ask(m.SetLimit(name, user, value))

    # --- users ------------------------------------------------------------------------------

    async def users(self) -> list[UserKeys]:
        """All users with keys, by name."""
        found: list[UserKeys] = []
        while True:
            reply = await self._session.ask(m.ListUsers(found[-1].user if found else ""))
            found += reply.users
            if not reply.more:
                return found

    async def add_user_key(self, user: str, key: bytes) -> None:
        """Let whoever has the private half of a key be ``user``."""
        await self._session.ask(m.AddUserKey(user, key))

    async def remove_user_key(self, user: str, key: bytes = b"") -> None:
        """Let a key prove nobody; empty: all of the user's."""
        await self._session.ask(m.RemoveUserKey(user, key))

    async def groups(self) -> list[UserGroups]:
        """The table of groups: its users by name, with their groups."""
        found: list[UserGroups] = []
        while True:
            reply = await self._session.ask(m.ListGroups(found[-1].user if found else ""))
            found += reply.users
            if not reply.more:
                return found

    async def change_groups(
        self, group: str, users: Sequence[str], *, remove: bool = False
    ) -> None:
        """Put users into a group, or take them out: all or none."""
        await self._session.ask(m.ChangeGroups(group, tuple(users), remove))

    # --- blocks -----------------------------------------------------------------------------

    async def file_blocks(self, path: str, first: int, count: int) -> BlocksReply:
        """A page of a file's block map."""
        return await self._session.ask(m.GetBlocks(path.encode(), first, count), path)

    async def files(self, paths: Sequence[str]) -> list[FileReply]:
        """Attributes and the first blocks of files, or an error each, in the order of ``paths``."""
        raws = [path.encode() for path in paths]
        found: list[FileReply] = []
        for batch in path_batches(raws):
            while len(found) < batch.stop:
                request = m.ReadFiles(tuple(raws[len(found) : batch.stop]), 0)
                reply = await self._session.ask(request, deadline=self._session.deadline())
                if not reply.files:
                    raise UnavailableError("the primary answered for no file")
                found += reply.files
        return found

    async def held_blocks(self, number: int) -> set[BlockVersion]:
        """All block versions that a member holds. Raises RetryableError when it does not answer."""
        held: set[BlockVersion] = set()
        after: BlockVersion | None = None
        while True:
            answer = await self._session.ask_member(
                number, m.ListBlocks(after), deadline=self._session.deadline()
            )
            page = [block.version for block in answer.record.blocks]
            held.update(page)
            if not answer.record.more or not page:
                return held
            after = page[-1]

    async def verify_blocks(self, number: int, versions: Sequence[BlockVersion]) -> Sequence[int]:
        """Have a member re-read its copies of the first of ``versions``: a code for each of these.

        0, or that of BlockNotFoundError or CorruptBlockError. Raises RetryableError.
        """
        answer = await self._session.ask_member(
            number,
            m.VerifyBlocks(tuple(versions[:_BATCH])),
            deadline=self._session.deadline(VERIFY_SECONDS),
        )
        if versions and not answer.record.codes:
            raise UnavailableError(f"member {number} verified none of the blocks asked for")
        return answer.record.codes


class NodeClient:
    """One node, asked over a connection of its own: for when no primary can be asked."""

    def __init__(self, environment: Environment, config: ClientConfig, endpoint: Endpoint) -> None:
        """Connects with each request."""
        self._environment = environment
        self._config = config
        self._endpoint = endpoint

    async def state(self) -> NodeStateReply:
        """What it knows of itself and the cluster."""
        return await self._ask(m.GetNodeState(), NODE_SECONDS)

    async def hand_over(self, successor: int) -> View:
        """Have it pass the primary's role to an in-sync member; 0: to one that it chooses."""
        return (await self._ask(m.HandOver(successor), ROLE_SECONDS)).view

    async def force_recover(self) -> View:
        """Make it the primary of what it holds; what only other members knew is lost."""
        return (await self._ask(m.ForceRecover(True), ROLE_SECONDS)).view

    async def _ask(self, request: m.Request[m.R], seconds: float) -> m.R:
        hello = m.Hello(
            frames.VERSION_MIN,
            frames.VERSION_MAX,
            "",
            m.Role.CLIENT,
            self._environment.random.getrandbits(63),
            Identity(self._config.user, self._config.groups),
        )
        connection = await dial(self._environment, self._endpoint, hello, timeout=seconds)
        try:
            answer = await connection.call(request, request_id=1, timeout=seconds, epoch=0)
            return answer.record
        finally:
            connection.close("asked")
