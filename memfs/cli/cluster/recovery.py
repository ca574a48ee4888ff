"""``memfs cluster wait``, ``hand-over`` and ``force-recover``: what an operator does by hand."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import click

from memfs import errors
from memfs.cli.cluster.health import HEALTHY, diagnosis, in_sync_survivors, pending_work, problems
from memfs.cli.cluster.look import Observer, Picture, observer_command
from memfs.cli.cluster.survey import ClusterSurvey, Seen
from memfs.cli.command import Failed
from memfs.cli.options import Quantity, WholeNumber, json_option
from memfs.cli.shell import write_json
from memfs.cluster import view as rules
from memfs.paths import Endpoint
from memfs.quantities import counted, parse_duration
from memfs.types import View

POLL_SECONDS = 0.5


# --- wait ----------------------------------------------------------------------------------------


@observer_command("wait", example="memfs cluster wait --nodes 4 --timeout 10m")
@click.option("--nodes", type=WholeNumber(1), help="... and has at least so many nodes.")
@click.option(
    "--timeout",
    type=Quantity("duration", parse_duration),
    default="10m",
    show_default=True,
    help="Give up after this, with exit status 1.",
)
@click.option(
    "--moves/--no-moves", default=True, help="Wait for rebalancing too (default), or not."
)
@json_option
async def wait(
    observer: Observer, nodes: int | None, timeout: float, moves: bool, as_json: bool
) -> None:
    """Wait until the cluster is healthy: all nodes alive, namespace in sync, blocks healed.

    For scripts: between two restarts, so that a second one does not take the last copy. It fails
    at once when all that is missing are nodes for the copies that files ask for.
    """
    deadline = time.monotonic() + timeout
    told = ""
    while reason := waits_for(picture := await observer.look(), nodes or 1, moves):
        if is_in_vain(picture, nodes or 1):
            observer.complain(f"not healthy: {reason}")
            break
        if time.monotonic() >= deadline:
            observer.complain(f"not healthy after {timeout:g} s: {reason}")
            break
        if reason != told:
            click.echo(f"waiting: {reason}", err=True)
            told = reason
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
    if as_json:
        write_json({"healthy": not reason, "reason": reason})


def waits_for(picture: Picture, nodes: int, moves: bool) -> str:
    """Why the cluster is not healthy yet; empty: it is."""
    found = picture.status
    if found is None:
        assert picture.survey is not None, "a look has one of the two"
        return diagnosis(picture.survey).text
    wrong = [problem.text for problem in problems(found) if problem.health != HEALTHY]
    if wrong:
        return wrong[0]
    if len(found.nodes) < nodes:
        return f"{len(found.nodes)} of {counted(nodes, 'node')} are there"
    return pending_work(found, moves=moves)


def is_in_vain(picture: Picture, nodes: int) -> bool:
    """Whether no problem goes away by itself, so that waiting does not help."""
    found = picture.status
    if found is None or len(found.nodes) < nodes or pending_work(found):
        return False
    wrong = [problem for problem in problems(found) if problem.health != HEALTHY]
    return not any(problem.passes for problem in wrong)


# --- hand-over -----------------------------------------------------------------------------------


@observer_command("hand-over", example="memfs cluster hand-over node-2")
@click.argument("node", default="")
async def hand_over(observer: Observer, node: str) -> None:
    """Pass the primary's role to an in-sync node, named or by member number, or to any.

    Clients notice a short pause. `memfs node` does it by itself when it is stopped.
    """
    picture = await observer.look()
    if picture.status is None:
        assert picture.survey is not None, "a look has one of the two"
        observer.complain(f"no primary answers: {diagnosis(picture.survey).text}")
        return
    view = picture.status.view
    number = _number(observer, view, node) if node else 0
    if number == view.primary:
        click.echo(f"{node} is the primary already")
        return
    primary = rules.member(view, view.primary)
    assert primary is not None, "a view names its primary"
    endpoint = Endpoint(primary.host, primary.port)
    formed = await observer.node(endpoint).hand_over(number)
    successor = rules.member(formed, formed.primary)
    assert successor is not None, "a view names its primary"
    click.echo(f"{successor.name} is the primary now, {primary.name} before")


def _number(observer: Observer, view: View, node: str) -> int:
    for member in view.members:
        if node in (member.name, str(member.number)):
            return member.number
    names = ", ".join(member.name for member in view.members)
    observer.complain(f"there is no node {node!r}: the cluster has {names}")
    raise Failed


# --- force-recover -------------------------------------------------------------------------------


class RecoveryPlan(NamedTuple):
    """Which node to recover from and what would be lost, or why no recovery is possible."""

    refusal: str = ""
    chosen: Seen | None = None
    lost: tuple[str, ...] = ()


@observer_command(
    "force-recover", example="memfs cluster force-recover --accept-data-loss --url memfs://a,b,c"
)
@click.option("--accept-data-loss", is_flag=True, help="Do it, and not only say what it means.")
async def force_recover(observer: Observer, accept_data_loss: bool) -> None:
    """Begin anew with what the most advanced node holds, when all in-sync nodes are lost for good.

    What was acknowledged after that node fell behind is gone. Refused while a node lives that
    holds everything acknowledged. Name all nodes in the URL that may still run.
    """
    plan = planned(await observer.survey())
    if plan.chosen is None or plan.chosen.state is None:
        observer.complain(f"nothing is recovered: {plan.refusal}")
        return
    state = plan.chosen.state
    click.echo(f"recovering with {state.name} ({plan.chosen.endpoint}), log index {state.applied}")
    for line in plan.lost:
        click.echo(f"given up: {line}")
    if not accept_data_loss:
        observer.complain("nothing is done: say --accept-data-loss")
        return
    try:
        view = await observer.node(plan.chosen.endpoint).force_recover()
    except errors.UnavailableError as error:
        raise errors.UnavailableError(
            f"{error.message}: the coordinator must be there; see `memfs cluster status`"
        ) from error
    click.echo(f"{state.name} is the primary now, epoch {view.epoch}")
    click.echo("next: `memfs cluster wait`, then `memfs fsck` names files with lost blocks")


def planned(survey: ClusterSurvey) -> RecoveryPlan:
    """What a forced recovery would do: the longest log that is left begins anew."""
    view = survey.view
    if view is None:
        return RecoveryPlan("no reachable node knows the cluster; name others in --url")
    for state in survey.states:
        if (
            state.role == "primary"
            and state.number == view.primary
            and not state.unavailable_reason
        ):
            return RecoveryPlan(f"{state.name} is the primary and serves")
    living = in_sync_survivors(survey)
    if living:
        names = ", ".join(state.name for state in living)
        return RecoveryPlan(
            f"everything acknowledged is still held by {names}. {diagnosis(survey).text}: "
            f"{diagnosis(survey).step}"
        )
    candidates = [seen for seen in survey.nodes if seen.state is not None and seen.state.applied]
    if not candidates:
        return RecoveryPlan(
            "no reachable node holds a namespace: start a node that kept its journal"
        )
    chosen = max(candidates, key=lambda seen: seen.state.applied if seen.state else 0)
    return RecoveryPlan("", chosen, tuple(_given_up(survey, view, chosen)))


def _given_up(survey: ClusterSurvey, view: View, chosen: Seen) -> list[str]:
    assert chosen.state is not None, "only a node that answers is chosen"
    members = [rules.member(view, number) for number in view.in_sync]
    names = ", ".join(f"{each.name} ({Endpoint(each.host, each.port)})" for each in members if each)
    seconds = chosen.state.primary_heartbeat_ms / 1000
    return [
        f"what only {names} knew: all that was acknowledged after log index {chosen.state.applied}",
        f"{chosen.state.name} last heard of a primary {seconds:.0f} s ago",
        *(f"not asked: {seen.endpoint}: {seen.reason}" for seen in survey.nodes if not seen.state),
    ]
