"""What is wrong with a cluster, and what to type: from what the primary says, or the nodes do.

Pure. Owns the judgement that ``memfs cluster status``, ``wait`` and ``force-recover`` share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from memfs.cli.cluster.survey import ClusterSurvey
from memfs.cli.quoting import in_a_line
from memfs.client.admin import (
    HealingStatus,
    MountRecord,
    NodeStateReply,
    NodeStatus,
    StatusReply,
)
from memfs.cluster import view as rules
from memfs.limits import MIB, NAMESPACE_COPIES
from memfs.paths import Endpoint
from memfs.quantities import counted, show_duration, show_size
from memfs.types import View

HEALTHY, DEGRADED, UNAVAILABLE = "healthy", "degraded", "unavailable"
LOW_SHARE = 0.90
LATE_SECONDS: Final = 60.0
"""A change that has not reached its store for longer than this is reported."""
_BLOCKS_ARE = ("block is", "blocks are")
ROOM = "delete files or add a node: `memfs node --coordinator ...`"
RECOVER = "memfs cluster force-recover --accept-data-loss"
NOTHING_LEFT = (
    "no node that answers holds a namespace, so nothing is left; stop all nodes and begin anew "
    "with an empty coordinator (in etcd: another prefix)"
)


class Problem(NamedTuple):
    """One problem."""

    text: str
    step: str
    """What to do or type."""
    health: str = DEGRADED
    """The state of a cluster that has it; :data:`HEALTHY`: it is information only."""
    passes: bool = True
    """Whether it goes away by itself, so that waiting helps."""


# --- external stores -----------------------------------------------------------------------------


def store_problems(mounts: Iterable[MountRecord], now_ns: int) -> list[Problem]:
    """What keeps mounted stores from being read, or from having what was written."""
    return [problem for mount in mounts for problem in _store(mount, now_ns)]


def _store(mount: MountRecord, now_ns: int) -> Iterator[Problem]:
    path = in_a_line(mount.path.decode("utf-8", "replace") or mount.url)
    if mount.trouble:
        text = f"the store mounted at {path} is in trouble: {in_a_line(mount.trouble)}"
        yield Problem(text, "see to the store; the nodes ask again by themselves", HEALTHY)
    age = (now_ns - mount.oldest_dirty_ns) / 1e9
    if mount.oldest_dirty_ns and age > LATE_SECONDS:
        changes = counted(max(mount.dirty_files, 1), "change")
        text = f"the store mounted at {path} lacks {changes}, for {show_duration(age)} already"
        yield Problem(text, f"`memfs persist {path}` says why", HEALTHY)


# --- with a primary ------------------------------------------------------------------------------


def health(found: StatusReply) -> str:
    """:data:`HEALTHY`, :data:`DEGRADED` or :data:`UNAVAILABLE`."""
    states = {problem.health for problem in problems(found)}
    return next((word for word in (UNAVAILABLE, DEGRADED) if word in states), HEALTHY)


def problems(found: StatusReply) -> list[Problem]:
    """All problems, the worst first."""
    every = [*_service(found), *_blocks(found), *_members(found)]
    order = (UNAVAILABLE, DEGRADED, HEALTHY)
    return sorted(every, key=lambda problem: order.index(problem.health))


def wanted_in_sync(view: View) -> int:
    """How many members the cluster is bringing in sync by itself."""
    return min(NAMESPACE_COPIES, len(view.members))


def pending_work(found: StatusReply, *, moves: bool = True) -> str:
    """What blocks wait for besides the problems, empty for nothing. ``moves``: rebalancing counts
    too."""
    healing = found.healing
    if healing.blocks or healing.state == "healing":
        return _short(healing)
    if not healing.complete:
        return "the blocks are being looked at"
    if moves and (healing.moves or healing.state == "rebalancing"):
        return f"{counted(healing.moves, *_BLOCKS_ARE)} being moved"
    return ""


def _service(found: StatusReply) -> Iterator[Problem]:
    view = found.view
    if found.unavailable_reason:
        silent = ", ".join(node.member.name for node in found.nodes if not node.alive)
        step = f"start or reconnect {silent}" if silent else _step_against(found.unavailable_reason)
        text = f"the primary acknowledges nothing: {found.unavailable_reason}"
        yield Problem(text, step, UNAVAILABLE)
    if not found.coordinator_reachable:
        yield Problem(
            "the coordinator is out of reach: nothing is lost, but nobody can take over or join",
            "bring it back: `etcdctl endpoint health`, or the node that embeds it",
        )
    if len(view.in_sync) < wanted_in_sync(view):
        wanted = counted(wanted_in_sync(view), "copy", "copies")
        yield Problem(
            f"{len(view.in_sync)} of {wanted} of the namespace are in sync",
            "comes by itself while enough nodes live: `memfs cluster wait`",
        )


def _blocks(found: StatusReply) -> Iterator[Problem]:
    healing = found.healing
    if healing.endangered and healing.endangered[0]:
        yield Problem(
            f"{counted(healing.endangered[0], 'block has', 'blocks have')} no good copy left",
            "`memfs fsck` names the files; a node that comes back with its journal brings copies",
        )
    if healing.blocks:
        step = ROOM if healing.no_room else "`memfs cluster wait`"
        yield Problem(_short(healing), step)
    if healing.under_replicated:
        yield Problem(
            f"under-replicated: {counted(healing.under_replicated, 'block')}, with fewer copies "
            "than files ask for: there are too few nodes",
            "add a node: `memfs node --coordinator ...`",
            passes=False,
        )
    if any(healing.exposed):
        yield Problem(_exposed(healing), "start the silent nodes again, or let them be removed")
    if healing.corrupt:
        yield Problem(
            f"{counted(healing.corrupt, 'corrupt copy is', 'corrupt copies are')} being replaced",
            "again and again on one node: replace its memory",
        )


def _short(healing: HealingStatus) -> str:
    short = f"{counted(healing.blocks, *_BLOCKS_ARE)} short of copies"
    return f"{short}, no node has room for {healing.no_room}" if healing.no_room else short


def _exposed(healing: HealingStatus) -> str:
    counts = [f"{n} with {copies} elsewhere" for copies, n in enumerate(healing.exposed) if n]
    exposed = counted(sum(healing.exposed), "block has copies", "blocks have copies")
    return f"{exposed} on silent nodes ({', '.join(counts)})"


UNEXPLAINED_SHARE: Final = 1.10
UNEXPLAINED_BYTES: Final = 64 * MIB
"""The process's own memory, and a tenth more than it accounts for, is not reported."""
_STEPS = (
    ("container", "then it stores again by itself"),
    ("disk", "it goes on by itself once that is mended"),
    ("open files", "raise LimitNOFILE (systemd) or `ulimit -n`, and start it again"),
    ("mappings", "raise the sysctl vm.max_map_count, and start it again"),
    ("connections", "let programs keep one connection each"),
)
"""What to do, by a word that the report contains."""


def _step_against(unavailable_reason: str) -> str:
    steps = (step for word, step in _STEPS if word in unavailable_reason)
    return next(steps, "start, resume or reconnect who is missing")


def _members(found: StatusReply) -> Iterator[Problem]:
    for node in found.nodes:
        name, usage = node.member.name, node.usage
        if not node.alive:
            yield Problem(
                f"{name} has been silent for {silence(node)}",
                f"start it again at {Endpoint(node.member.host, node.member.port)}, or let the "
                "cluster remove it",
            )
        if usage.trouble:
            yield Problem(f"{name}: {usage.trouble}", _step_against(usage.trouble))
        if usage.limit and usage.used >= LOW_SHARE * usage.limit:
            yield Problem(
                f"{name} is {100 * usage.used // usage.limit}% full "
                f"({show_size(usage.used)} of {show_size(usage.limit)})",
                ROOM,
                HEALTHY,
            )
        explained = usage.used + usage.spare
        if usage.resident > UNEXPLAINED_SHARE * explained + UNEXPLAINED_BYTES:
            yield Problem(
                f"{name} takes {show_size(usage.resident)} of memory, of which it accounts for "
                f"{show_size(explained)}",
                "look again in a minute; if it stays, restart it and report what it was doing",
                HEALTHY,
            )


def silence(node: NodeStatus) -> str:
    """How long ago the member's last heartbeat came."""
    if node.heartbeat_ms >= 1e11:
        return "ever"
    return f"{node.heartbeat_ms / 1000:.1f} s"


# --- without one ---------------------------------------------------------------------------------


def diagnosis(survey: ClusterSurvey) -> Problem:
    """Why no primary answers, and the next step."""
    if not survey.states:
        return Problem(
            "no node answers", "start the nodes (`memfs node`), or check --url", UNAVAILABLE
        )
    view = survey.view
    if view is None:
        told = next(
            (state.unavailable_reason for state in survey.states if state.unavailable_reason), ""
        )
        text = "the nodes that answer have not joined a cluster"
        step = "check that their coordinator runs, and `coordinator` in their settings"
        return Problem(f"{text}: {told}" if told else text, step, UNAVAILABLE)
    living = in_sync_survivors(survey)
    if not living:
        return _nobody_in_sync(view, any(state.applied for state in survey.states))
    return _silent_primary(view, living)


def in_sync_survivors(survey: ClusterSurvey) -> list[NodeStateReply]:
    """Nodes that answer and are in sync by the newest view: they hold all that is acknowledged."""
    view = survey.view
    in_sync = view.in_sync if view is not None else ()
    return [state for state in survey.states if state.number in in_sync]


def _nobody_in_sync(view: View, recoverable: bool) -> Problem:
    """``recoverable``: a node that answers still has some state of the namespace."""
    members = filter(None, (rules.member(view, number) for number in view.in_sync))
    names = ", ".join(f"{member.name} ({Endpoint(member.host, member.port)})" for member in members)
    last = f"`{RECOVER}`" if recoverable else NOTHING_LEFT
    return Problem(
        f"every node that holds all acknowledged commands is gone or out of reach: {names}",
        "reconnect or resume one of them (with `ack = journal`, start it again); if all are "
        f"lost for good: {last}",
        UNAVAILABLE,
    )


def _silent_primary(view: View, living: list[NodeStateReply]) -> Problem:
    primary = rules.member(view, view.primary)
    name = primary.name if primary else str(view.primary)
    for state in living:
        if state.number == view.primary and state.unavailable_reason:
            step = "start or reconnect the nodes that do not answer"
            return Problem(
                f"{name} acknowledges nothing: {state.unavailable_reason}", step, UNAVAILABLE
            )
    if not any(state.coordinator_reachable for state in living):
        return Problem(
            f"the primary {name} is silent, and no in-sync node reaches the coordinator to take "
            "over",
            "bring it back: `etcdctl endpoint health`, or the node that embeds it",
            UNAVAILABLE,
        )
    names = ", ".join(state.name for state in living if state.number != view.primary)
    if not names:
        return Problem(f"{name} is about to serve", "`memfs cluster wait`", UNAVAILABLE)
    return Problem(
        f"the primary {name} is silent; {names} can take over", "`memfs cluster wait`", UNAVAILABLE
    )
