"""``memfs cluster decommission``, ``weight`` and ``rebalance``: how a cluster grows and shrinks.

All three ask the primary and return; what follows happens in the cluster, whoever waits for it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from memfs import errors
from memfs.cli.command import Failed
from memfs.cli.options import WholeNumber
from memfs.cli.shell import Shell, file_command
from memfs.quantities import counted, show_size

if TYPE_CHECKING:
    from memfs.client.admin import StatusReply
    from memfs.types import Member

POLL_SECONDS = 0.5


@file_command("decommission", example="memfs cluster decommission node-3")
@click.argument("node")
@click.option("--cancel", is_flag=True, help="Keep the node after all.")
@click.option(
    "--fewer-copies",
    is_flag=True,
    help="Let it go although fewer nodes are left than files ask for copies, or have no room yet.",
)
@click.option(
    "--wait/--no-wait", default=True, help="Wait until the node has left (default), or not."
)
async def decommission(
    shell: Shell, node: str, cancel: bool, fewer_copies: bool, wait: bool
) -> None:
    """Move all blocks off a node, named or by member number, and let it go.

    Nothing is lost, even of files with one copy. Interrupting the command does not stop it. It is
    refused when the others have no room, or files would have fewer copies than they ask for; with
    --fewer-copies it begins all the same, and ends when every block has found a place.
    """
    member = await _find(shell, node)
    await shell.admin.decommission(member.number, cancel=cancel, fewer_copies=fewer_copies)
    if cancel:
        click.echo(f"{member.name} stays")
    elif wait:
        await _wait(shell, member)
    else:
        click.echo(f"{member.name} is leaving; memfs cluster status shows how far it is")


@file_command("weight", example="memfs cluster weight node-3 200")
@click.argument("node")
@click.argument("weight", type=WholeNumber(0, 10_000))
async def weight(shell: Shell, node: str, weight: int) -> None:
    """Give a node another share of the blocks: 100 is usual, 0 none.

    Blocks follow in the background. The node says its configured weight again when it restarts.
    """
    member = await _find(shell, node)
    await shell.admin.set_weight(member.number, weight)
    click.echo(f"{member.name} has weight {weight} now, {member.weight} before")


@file_command("rebalance", example="memfs cluster rebalance")
async def rebalance(shell: Shell) -> None:
    """Look for blocks that do not lie where the ring wants them, and move them.

    Happens by itself when nodes come, go, or get another weight.
    """
    await shell.admin.rebalance()
    click.echo("looking for blocks to move; memfs cluster status shows how far it is")


async def _find(shell: Shell, node: str) -> Member:
    """The member of that name or number, as the primary knows them."""
    found = await shell.fs.cluster_status()
    for status in found.nodes:
        if node in (status.member.name, str(status.member.number)):
            return status.member
    names = ", ".join(status.member.name for status in found.nodes)
    shell.complain(f"there is no node {node!r}: the cluster has {names}")
    raise Failed


async def _wait(shell: Shell, member: Member) -> None:
    """Show the progress until the member is gone."""
    shown = ""
    while True:
        try:
            found = await shell.fs.cluster_status()
        except errors.RetryableError:  # the role of the primary may be moving
            await asyncio.sleep(POLL_SECONDS)
            continue
        still = [status for status in found.nodes if status.member.number == member.number]
        if not still:
            _show("", shown)
            click.echo(f"{member.name} has left")
            return
        if not still[0].member.leaving:
            _show("", shown)
            shell.complain(f"the decommission of {member.name} was called off")
            return
        shown = _show(progress(found, member), shown)
        await asyncio.sleep(POLL_SECONDS)


def progress(found: StatusReply, member: Member) -> str:
    """One line that says how far a decommission has come."""
    left = next((each for each in found.healing.leaving if each.member == member.number), None)
    if left is None:
        return f"{member.name}: waiting"
    rate = found.healing.bytes_per_second
    line = f"{member.name}: {counted(left.blocks, 'block')}, {show_size(left.bytes)} left"
    if rate:
        line += f", {show_size(rate)}/s, about {left.bytes / rate:.0f} s"
    return f"{line} (waiting for {left.waiting})" if left.waiting not in ("", "blocks") else line


def _show(line: str, before: str) -> str:
    """Replace the line on a terminal; elsewhere print a line when something has changed."""
    if sys.stderr.isatty():
        sys.stderr.write("\r" + line.ljust(len(before)) + ("" if line else "\r"))
        sys.stderr.flush()
    elif line and line != before:
        click.echo(line, err=True)
    return line
