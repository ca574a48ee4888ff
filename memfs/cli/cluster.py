"""``memfs cluster status`` and ``memfs cluster nodes``."""

from __future__ import annotations

from typing import Any

import click

from memfs.cli import layout
from memfs.cli.options import json_option
from memfs.cli.shell import Shell, example_text, file_command, write_json
from memfs.protocol.messages import NodeStatus, StatusReply
from memfs.quantities import show_size


@click.group("cluster", epilog=example_text("memfs cluster status"))
def cluster() -> None:
    """Show the state of the cluster."""


@file_command("status", example="memfs cluster status --json | jq .epoch")
@json_option
async def status(shell: Shell, as_json: bool) -> None:
    """Show the cluster: primary, nodes, files, memory. Exits with 1 when something is wrong."""
    found = await shell.fs.cluster_status()
    if as_json:
        write_json(described(found))
    else:
        click.echo("\n".join([*summary(found), "", *node_table(found)]))
    if not healthy(found):
        shell.status = 1


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


cluster.add_command(status)
cluster.add_command(nodes)


def healthy(found: StatusReply) -> bool:
    """Whether every member lives and holds the namespace."""
    return all(node.alive and node.in_sync for node in found.nodes)


def summary(found: StatusReply) -> list[str]:
    """The lines above the table of nodes."""
    alive = sum(node.alive for node in found.nodes)
    in_sync = sum(node.in_sync for node in found.nodes)
    used = sum(node.usage.used for node in found.nodes)
    limit = sum(node.usage.limit for node in found.nodes)
    share = f" ({100 * used / limit:.1f}%)" if limit else ""
    state = "healthy" if healthy(found) else "degraded"
    view = found.view
    lines = [
        f"cluster   {view.cluster}: {state}",
        f"nodes     {alive} of {len(found.nodes)} alive, {in_sync} in sync, epoch {view.epoch}",
        f"memory    {show_size(used)} of {show_size(limit)}{share}",
        f"files     {found.files} in {found.directories} directories, {show_size(found.bytes)}",
        f"sessions  {found.sessions}",
        f"log       {found.log_index} applied, {found.committed} committed",
    ]
    if found.reclaiming:
        lines.append(f"deleting  {found.reclaiming} inodes left to free")
    return lines


def node_table(found: StatusReply) -> list[str]:
    """The nodes, one a line."""
    header = ("NODE", "MEMBER", "ADDRESS", "STATE", "ROLE", "USED", "LIMIT", "BLOCKS", "HEARD")
    rows = [_row(node, found) for node in found.nodes]
    return layout.table(header, rows, {1, 5, 6, 7, 8})


def _row(node: NodeStatus, found: StatusReply) -> tuple[str, ...]:
    member, usage = node.member, node.usage
    return (
        member.name,
        str(member.number),
        f"{member.host}:{member.port}",
        "alive" if node.alive else "silent",
        _role(node, found),
        show_size(usage.used),
        show_size(usage.limit),
        str(usage.blocks),
        f"{node.heartbeat_ms / 1000:.1f} s",
    )


def _role(node: NodeStatus, found: StatusReply) -> str:
    if node.member.number == found.view.primary:
        return "primary"
    return "backup" if node.in_sync else "catching up"


def described(found: StatusReply) -> dict[str, Any]:
    """The status as one JSON object."""
    return {
        "cluster": found.view.cluster,
        "healthy": healthy(found),
        "epoch": found.view.epoch,
        "primary": found.view.primary,
        "in_sync": list(found.view.in_sync),
        "log_index": found.log_index,
        "committed": found.committed,
        "files": found.files,
        "directories": found.directories,
        "bytes": found.bytes,
        "sessions": found.sessions,
        "reclaiming": found.reclaiming,
        "nodes": [described_node(node, found) for node in found.nodes],
    }


def described_node(node: NodeStatus, found: StatusReply) -> dict[str, Any]:
    """A node as a JSON object."""
    member, usage = node.member, node.usage
    return {
        "name": member.name,
        "member": member.number,
        "address": f"{member.host}:{member.port}",
        "domain": member.domain,
        "weight": member.weight,
        "alive": node.alive,
        "in_sync": node.in_sync,
        "primary": member.number == found.view.primary,
        "used": usage.used,
        "limit": usage.limit,
        "blocks": usage.blocks,
        "applied": usage.applied,
        "heartbeat_ms": node.heartbeat_ms,
    }
