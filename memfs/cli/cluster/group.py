"""``memfs cluster``: the group, and nothing else."""

from __future__ import annotations

import click

from memfs.cli.cluster.members import decommission, rebalance, weight
from memfs.cli.cluster.recovery import force_recover, hand_over, wait
from memfs.cli.cluster.status import nodes, status
from memfs.cli.cluster.user_limits import limits
from memfs.cli.command import example_text


@click.group("cluster", epilog=example_text("memfs cluster status"))
def cluster() -> None:
    """Show the cluster, wait for it, let nodes go, share blocks out anew."""


for command in (
    status,
    nodes,
    wait,
    decommission,
    weight,
    rebalance,
    limits,
    hand_over,
    force_recover,
):
    cluster.add_command(command)
