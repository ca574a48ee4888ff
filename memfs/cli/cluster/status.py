"""``memfs cluster status`` and ``nodes``: the cluster at a glance, once or again and again."""

from __future__ import annotations

import asyncio
import datetime
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

import click

from memfs.cli.cluster.health import (
    UNAVAILABLE,
    Problem,
    diagnosis,
    health,
    problems,
    wanted_in_sync,
)
from memfs.cli.cluster.look import Observer, Picture, observer_command
from memfs.cli.cluster.survey import ClusterSurvey, Seen
from memfs.cli.files.looking import columns as layout
from memfs.cli.options import json_option
from memfs.cli.shell import Shell, file_command, write_json
from memfs.client.admin import BoundStatus, DepartedMember, HealingStatus, NodeStatus, StatusReply
from memfs.cluster import view as rules
from memfs.cluster.ring import accepts_copies
from memfs.limits import LOG_BYTES_KEPT, LOG_ENTRIES_KEPT
from memfs.paths import Endpoint
from memfs.quantities import counted, show_duration, show_size

WATCH_SECONDS = 2.0


@observer_command("status", example="memfs cluster status --watch")
@click.option(
    "--watch",
    is_flag=False,
    flag_value=str(WATCH_SECONDS),
    type=click.FloatRange(0.1, 3600),
    metavar="[SECONDS]",
    help="Show it again and again (every 2 s), until Ctrl-C.",
)
@json_option
async def status(observer: Observer, watch: float | None, as_json: bool) -> None:
    """Show the cluster: health, primary, nodes, memory, healing.

    Exits with 1 when something is wrong. When no primary answers, every node is asked what it
    knows.
    """
    if watch is not None:
        await _watch(observer, watch, as_json)
    picture = await observer.look()
    if as_json:
        write_json(described_picture(picture))
    else:
        click.echo("\n".join(lines_of(picture)))
    observer.status = int(health_of(picture) != "healthy")


@file_command("nodes", example="memfs cluster nodes")
@json_option
async def nodes(shell: Shell, as_json: bool) -> None:
    """Show the nodes, one a line."""
    found = await shell.fs.cluster_status()
    if as_json:
        for node in found.nodes:
            write_json(described_node(node, found))
    else:
        click.echo("\n".join(node_table(found)))


async def _watch(observer: Observer, seconds: float, as_json: bool) -> None:
    """Show the state until interrupted: all of it on a terminal, one line each time elsewhere."""
    if as_json or not sys.stdout.isatty():
        while True:
            picture = await observer.look()
            if as_json:
                write_json(described_picture(picture))
            else:
                click.echo(f"{time.strftime('%H:%M:%S')} {headline(picture)}")
            sys.stdout.flush()
            await asyncio.sleep(seconds)
    from rich.live import Live
    from rich.text import Text

    with Live(Text("asking ..."), screen=True, auto_refresh=False) as live:
        while True:
            lines = [time.strftime("%H:%M:%S"), "", *lines_of(await observer.look())]
            live.update(Text("\n".join(lines), no_wrap=True), refresh=True)
            await asyncio.sleep(seconds)


# --- either way ----------------------------------------------------------------------------------


def health_of(picture: Picture) -> str:
    """healthy, degraded or unavailable."""
    return health(picture.status) if picture.status is not None else UNAVAILABLE


def lines_of(picture: Picture) -> list[str]:
    """All that is shown of one look."""
    found = picture.status
    if found is not None:
        stores = _complaints(list(picture.stores))
        return [*summary(found), *bound_lines(picture.bounds), *stores, "", *node_table(found)]
    assert picture.survey is not None, "a look has one of the two"
    return survey_lines(picture.survey)


def headline(picture: Picture) -> str:
    """One look in one line."""
    found = picture.status
    if found is None:
        assert picture.survey is not None, "a look has one of the two"
        return f"{UNAVAILABLE}: {diagnosis(picture.survey).text}"
    view = found.view
    parts = [
        health(found),
        f"epoch {view.epoch}",
        f"primary {_name(found, view.primary)}",
        f"{len(view.in_sync)} in sync",
        f"{sum(node.alive for node in found.nodes)} of {counted(len(found.nodes), 'node')} alive",
        _healing_line(found.healing),
        *(problem.text for problem in [*problems(found), *picture.stores]),
    ]
    return "; ".join(parts)


def described_picture(picture: Picture) -> dict[str, object]:
    """One look as a JSON object."""
    if picture.status is not None:
        shown = described(picture.status)
        found = (*problems(picture.status), *picture.stores)
        shown["problems"] = [problem._asdict() for problem in found]
        shown["bounds"] = {each.name: described_bound(each) for each in picture.bounds}
        return shown
    assert picture.survey is not None, "a look has one of the two"
    return described_survey(picture.survey)


def bound_lines(bounds: Sequence[BoundStatus]) -> list[str]:
    """A line for each bound: the largest use by one client, and the use of all."""
    return [f"bounds    {_bound(each)}" for each in bounds if each.used]


def _bound(bound: BoundStatus) -> str:
    show: Callable[[int], str] = show_size if bound.name.endswith("_bytes") else str
    return (
        f"{bound.name.replace('_', ' ')}: at most {show(bound.largest)} of {show(bound.limit)} "
        f"for one, {show(bound.used)} of {show(bound.total_limit)} for all"
    )


def described_bound(bound: BoundStatus) -> dict[str, int]:
    """A bound as a JSON object; its name is the key."""
    return {key: value for key, value in bound._asdict().items() if key != "name"}


def _complaints(found: list[Problem]) -> list[str]:
    return [line for each in found for line in (f"! {each.text}", f"    {each.step}")]


# --- with a primary ------------------------------------------------------------------------------


def summary(found: StatusReply) -> list[str]:
    """The lines above the table of nodes."""
    view = found.view
    alive = sum(node.alive for node in found.nodes)
    used = sum(node.usage.used for node in found.nodes)
    limit = sum(node.usage.limit for node in found.nodes)
    share = f" ({100 * used / limit:.1f}%)" if limit else ""
    reachable = "reachable" if found.coordinator_reachable else "OUT OF REACH"
    lines = [
        f"cluster   {view.cluster}: {health(found)}",
        f"primary   {_name(found, view.primary)} since epoch {view.primary_since}, "
        f"coordinator {reachable}",
        f"in sync   {', '.join(_name(found, number) for number in view.in_sync)} "
        f"({view.min_in_sync} required, {wanted_in_sync(view)} wanted)",
        f"nodes     {alive} of {len(found.nodes)} alive, {len(view.in_sync)} in sync, "
        f"epoch {view.epoch}",
        f"memory    {show_size(used)} of {show_size(limit)}{share}{_memory_parts(found)}",
        f"files     {found.files} in {counted(found.directories, 'directory', 'directories')}, "
        f"{show_size(found.bytes)}",
        f"sessions  {found.sessions}",
        f"log       {found.log_index} applied, {found.committed} committed, "
        f"{found.log_entries} kept in memory ({show_size(found.log_bytes)}; at most "
        f"{LOG_ENTRIES_KEPT}, {show_size(LOG_BYTES_KEPT)})",
    ]
    if found.security:
        lines.append(f"security  {_security(found)}")
    if found.reclaiming:
        lines.append(f"deleting  {counted(found.reclaiming, 'inode')} left to free")
    lines += [f"gone      {_departed(each)}" for each in found.departed]
    return lines + healing_lines(found.healing) + _complaints(problems(found))


_BULK: Final = {
    "tls": "blocks under TLS, too",
    "authenticated": "BLOCKS IN CLEAR on connections that were proved (bulk = authenticated)",
}


def _security(found: StatusReply) -> str:
    """How clients are authenticated."""
    if found.security == "tls":
        ends = datetime.datetime.fromtimestamp(found.certificate_expires, datetime.UTC)
        text = f"TLS 1.3, the primary's certificate ends on {ends:%Y-%m-%d}"
        return f"{text}; {_BULK[found.bulk]}" if found.bulk in _BULK else text
    if found.security == "loopback":
        return "none: everybody on the primary's host is believed, nobody else reaches it"
    return "INSECURE: everybody who reaches a node is believed, whoever they say they are"


def _memory_parts(found: StatusReply) -> str:
    """The parts of the used memory, and how much the kernel counts as resident."""
    usages = [node.usage for node in found.nodes]
    overhead = sum(usage.overhead for usage in usages)
    spare = sum(usage.spare for usage in usages)
    text = f", {show_size(overhead)} of it overhead; {show_size(spare)} spare"
    resident = sum(usage.resident for usage in usages)
    return f"{text}; {show_size(resident)} resident" if resident else text


def _departed(member: DepartedMember) -> str:
    reason = f": {member.reason}" if member.reason else ""
    where = Endpoint(member.host, member.port)
    ago = show_duration(member.ago_ms / 1000)
    return f"{member.name} (member {member.number}, {where}) {ago} ago{reason}"


def _name(found: StatusReply, number: int) -> str:
    member = rules.member(found.view, number)
    return member.name if member is not None else f"member {number}"


def healing_lines(healing: HealingStatus) -> list[str]:
    """What is done about blocks."""
    lines = [f"healing   {_healing_line(healing)}"]
    if healing.endangered and healing.endangered[0]:
        lost = counted(healing.endangered[0], "block")
        lines.append(f"LOST      {lost} without any good copy: see fsck")
    if healing.corrupt:
        lines.append(f"corrupt   {counted(healing.corrupt, 'copy', 'copies')} not replaced yet")
    for leaving in healing.leaving:
        waits = f", waiting for {leaving.waiting}" if leaving.waiting not in ("", "blocks") else ""
        lines.append(
            f"leaving   member {leaving.member}: {counted(leaving.blocks, 'block')}, "
            f"{show_size(leaving.bytes)} left{waits}"
        )
    return lines


def _healing_line(healing: HealingStatus) -> str:
    rate, left = f"{show_size(healing.bytes_per_second)}/s", ""
    if healing.seconds_left > 0:
        left = f", about {healing.seconds_left} s left"
    if healing.blocks:
        counts = [f"{n} with {copies} left" for copies, n in enumerate(healing.endangered) if n]
        return (
            f"{counted(healing.blocks, 'block')} short of copies ({', '.join(counts)}), "
            f"{show_size(healing.bytes)} to copy, {rate}{left}"
        )
    if healing.moves:
        return (
            f"{counted(healing.moves, 'block')} to move, {show_size(healing.move_bytes)}, "
            f"balancing at {rate}{left}"
        )
    return healing.state if healing.complete else "looking at the blocks"


def node_table(found: StatusReply) -> list[str]:
    """The nodes, one a line: SHARE is that of the ring, DATA that of the bytes held."""
    header = (
        *("NODE", "MEMBER", "ADDRESS", "DOMAIN", "WEIGHT", "SHARE", "DATA", "STATE", "ROLE"),
        *("USED", "LIMIT", "BLOCKS", "HEARD"),
    )
    rows = [_row(node, found) for node in found.nodes]
    return layout.table(header, rows, {1, 4, 5, 6, 9, 10, 11, 12})


def ring_share(node: NodeStatus, found: StatusReply) -> float:
    """The part of new blocks that a node gets by its weight."""
    total = sum(member.weight for member in found.view.members if accepts_copies(member))
    return node.member.weight / total if total and accepts_copies(node.member) else 0.0


def data_share(node: NodeStatus, found: StatusReply) -> float:
    """The part of all bytes held that a node holds."""
    total = sum(each.usage.used for each in found.nodes)
    return node.usage.used / total if total else 0.0


def _row(node: NodeStatus, found: StatusReply) -> tuple[str, ...]:
    member, usage = node.member, node.usage
    return (
        member.name,
        str(member.number),
        str(Endpoint(member.host, member.port)),
        member.domain,
        str(member.weight),
        f"{ring_share(node, found):.0%}",
        f"{data_share(node, found):.0%}",
        _state(node),
        _role(node, found),
        show_size(usage.used),
        show_size(usage.limit),
        str(usage.blocks),
        f"{node.heartbeat_ms / 1000:.1f} s" if node.heartbeat_ms < 1e11 else "never",
    )


def _state(node: NodeStatus) -> str:
    if not node.alive:
        return "silent"
    return "leaving" if node.member.leaving else "alive"


def _role(node: NodeStatus, found: StatusReply) -> str:
    if node.member.number == found.view.primary:
        return "primary"
    if node.in_sync:
        return "backup"
    behind = len(found.view.in_sync) < wanted_in_sync(found.view)
    return "catching up" if behind else "member"


def described(found: StatusReply) -> dict[str, object]:
    """The status as one JSON object."""
    view = found.view
    return {
        "cluster": view.cluster,
        "health": health(found),
        "healthy": health(found) == "healthy",
        "problems": [problem._asdict() for problem in problems(found)],
        "epoch": view.epoch,
        "primary": view.primary,
        "primary_since": view.primary_since,
        "in_sync": list(view.in_sync),
        "required": view.min_in_sync,
        "coordinator_reachable": found.coordinator_reachable,
        "security": found.security,
        "certificate_expires": found.certificate_expires,
        "bulk": found.bulk,
        "log_index": found.log_index,
        "committed": found.committed,
        "files": found.files,
        "directories": found.directories,
        "bytes": found.bytes,
        "sessions": found.sessions,
        "reclaiming": found.reclaiming,
        "log_kept": {
            "entries": found.log_entries,
            "bytes": found.log_bytes,
            "entries_limit": LOG_ENTRIES_KEPT,
            "bytes_limit": LOG_BYTES_KEPT,
        },
        "departed": [each._asdict() for each in found.departed],
        "healing": found.healing._asdict()
        | {"leaving": [each._asdict() for each in found.healing.leaving]},
        "nodes": [described_node(node, found) for node in found.nodes],
    }


def described_node(node: NodeStatus, found: StatusReply) -> dict[str, object]:
    """A node as a JSON object."""
    member, usage = node.member, node.usage
    return {
        "name": member.name,
        "member": member.number,
        "address": str(Endpoint(member.host, member.port)),
        "domain": member.domain,
        "weight": member.weight,
        "leaving": member.leaving,
        "alive": node.alive,
        "in_sync": node.in_sync,
        "primary": member.number == found.view.primary,
        "ring_share": round(ring_share(node, found), 4),
        "data_share": round(data_share(node, found), 4),
        "used": usage.used,
        "limit": usage.limit,
        "overhead": usage.overhead,
        "spare": usage.spare,
        "resident": usage.resident,
        "container": usage.container,
        "container_limit": usage.container_limit,
        "blocks": usage.blocks,
        "trouble": usage.trouble,
        "applied": usage.applied,
        "heartbeat_ms": node.heartbeat_ms,
    }


# --- without one ---------------------------------------------------------------------------------


def survey_lines(survey: ClusterSurvey) -> list[str]:
    """What every node says, and what to do."""
    view, problem = survey.view, diagnosis(survey)
    name = view.cluster if view is not None else "(not known)"
    lines = [f"cluster   {name}: {UNAVAILABLE}", *_complaints([problem]), ""]
    header = ("NODE", "MEMBER", "ADDRESS", "ROLE", "EPOCH", "LOG", "COORDINATOR", "SAYS")
    return lines + layout.table(header, [_seen_row(seen) for seen in survey.nodes], {1, 4, 5})


def _seen_row(seen: Seen) -> tuple[str, ...]:
    state = seen.state
    if state is None:
        return ("?", "", str(seen.endpoint), "no answer", "", "", "", seen.reason)
    silent = f"the primary was heard {state.primary_heartbeat_ms / 1000:.1f} s ago"
    return (
        state.name,
        str(state.number or ""),
        str(seen.endpoint),
        state.role,
        str(state.view.epoch) if state.view is not None else "",
        str(state.applied),
        "reachable" if state.coordinator_reachable else "out of reach",
        state.unavailable_reason or ("" if state.role == "primary" else silent),
    )


def described_survey(survey: ClusterSurvey) -> dict[str, object]:
    """The survey as one JSON object."""
    view, problem = survey.view, diagnosis(survey)
    return {
        "cluster": view.cluster if view is not None else None,
        "health": UNAVAILABLE,
        "healthy": False,
        "problems": [problem._asdict()],
        "epoch": view.epoch if view is not None else 0,
        "primary": None,
        "nodes": [_described_seen(seen) for seen in survey.nodes],
    }


def _described_seen(seen: Seen) -> dict[str, object]:
    state = seen.state
    if state is None:
        return {"address": str(seen.endpoint), "answers": False, "reason": seen.reason}
    return {
        "address": str(seen.endpoint),
        "answers": True,
        "name": state.name,
        "member": state.number,
        "role": state.role,
        "epoch": state.view.epoch if state.view is not None else 0,
        "applied": state.applied,
        "coordinator_reachable": state.coordinator_reachable,
        "primary_heartbeat_ms": state.primary_heartbeat_ms,
        "unavailable_reason": state.unavailable_reason,
    }
