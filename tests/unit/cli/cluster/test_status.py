"""What the cluster commands say and decide, from what the primary or the nodes answered."""

from __future__ import annotations

import re
from typing import Any

import pytest

from memfs.cli.cluster.health import (
    DEGRADED,
    HEALTHY,
    UNAVAILABLE,
    diagnosis,
    health,
    pending_work,
    problems,
    store_problems,
)
from memfs.cli.cluster.look import Picture
from memfs.cli.cluster.recovery import is_in_vain, planned, waits_for
from memfs.cli.cluster.status import (
    described_picture,
    described_survey,
    headline,
    health_of,
    lines_of,
)
from memfs.cli.cluster.survey import ClusterSurvey, Seen
from memfs.paths import Endpoint
from memfs.protocol.messages import (
    BoundStatus,
    DepartedMember,
    HealingStatus,
    LeavingStatus,
    MountRecord,
    NodeStateReply,
    NodeStatus,
    StatusReply,
)
from memfs.types import Member, NodeUsage, View

MEMBERS = tuple(
    Member(n, f"node-{n}", 100 + n, f"h{n}", 10500, domain=f"r{n % 2}/h{n}") for n in range(1, 5)
)
VIEW = View("c1", 9, 1, (1, 2, 3), MEMBERS, 5, 4, 2)
CALM = HealingStatus(complete=True)


def node(member: Member, **changed: Any) -> NodeStatus:
    usage = NodeUsage(member.number, 100 * member.number, 1000, member.number)
    in_sync = member.number in VIEW.in_sync
    return NodeStatus(member, usage, True, in_sync, 200)._replace(**changed)


def reply(**changed: Any) -> StatusReply:
    nodes = tuple(map(node, MEMBERS))
    return StatusReply(VIEW, 7, 7, nodes, 3, 2, 50, 1, 0, CALM)._replace(**changed)


def with_node(number: int, **changed: Any) -> StatusReply:
    nodes = tuple(node(m, **(changed if m.number == number else {})) for m in MEMBERS)
    return reply(nodes=nodes)


# --- with a primary ------------------------------------------------------------------------------


def test_a_healthy_cluster_needs_no_more_copies_than_it_keeps() -> None:
    found = reply()
    assert (health(found), problems(found), pending_work(found)) == (HEALTHY, [], "")
    lines = lines_of(Picture(found, None))
    assert lines[0] == "cluster   c1: healthy"
    assert "in sync   node-1, node-2, node-3 (2 required, 3 wanted)" in lines
    assert "healing   idle" in lines
    row = next(line.split() for line in lines if line.startswith("node-4"))
    assert row[:9] == ["node-4", "4", "h4:10500", "r0/h4", "100", "25%", "40%", "alive", "member"]


@pytest.mark.parametrize(
    ("security", "line"),
    [
        (
            ("tls", 1_900_000_000, "tls"),
            "security  TLS 1.3, the primary's certificate ends on 2030-03-17; blocks under TLS",
        ),
        (
            ("tls", 1_900_000_000, "authenticated"),
            "security  TLS 1.3, the primary's certificate ends on 2030-03-17; BLOCKS IN CLEAR",
        ),
        (
            ("insecure", 0, ""),
            "security  INSECURE: everybody who reaches a node is believed, whoever",
        ),
        (("loopback", 0, ""), "security  none: everybody on the primary's host is believed"),
    ],
)
def test_how_the_primary_knows_who_asks(security: tuple[str, int, str], line: str) -> None:
    found = reply(security=security[0], certificate_expires=security[1], bulk=security[2])
    shown = [each for each in lines_of(Picture(found, None)) if each.startswith("security")]
    assert len(shown) == 1 and shown[0].startswith(line)
    told = described_picture(Picture(found, None))
    assert (told["security"], told["certificate_expires"], told["bulk"]) == security


@pytest.mark.parametrize(
    ("changed", "state", "text"),
    [
        (
            {"unavailable_reason": "1 of 2 are in sync"},
            UNAVAILABLE,
            "the primary acknowledges nothing: 1 of 2",
        ),
        ({"coordinator_reachable": False}, DEGRADED, "the coordinator is out of reach"),
        ({"view": VIEW._replace(in_sync=(1, 2))}, DEGRADED, "2 of 3 copies of the namespace"),
        ({"healing": CALM._replace(blocks=5)}, DEGRADED, "5 blocks are short of copies"),
        ({"healing": CALM._replace(corrupt=2)}, DEGRADED, "2 corrupt copies"),
        ({"healing": CALM._replace(under_replicated=7)}, DEGRADED, "under-replicated: 7 blocks"),
        ({"healing": CALM._replace(exposed=(2, 3))}, DEGRADED, "5 blocks have copies on silent"),
        ({"healing": CALM._replace(endangered=(4, 0))}, DEGRADED, "4 blocks have no good copy"),
    ],
)
def test_what_makes_a_cluster_less_than_healthy(
    changed: dict[str, Any], state: str, text: str
) -> None:
    found = reply(**changed)
    assert health(found) == state
    (problem,) = problems(found)
    assert text in problem.text and problem.step
    shown = "\n".join(lines_of(Picture(found, None)))
    assert f"! {problem.text}\n    {problem.step}" in shown
    assert problem.text in headline(Picture(found, None))
    assert text in waits_for(Picture(found, None), 1, True)


def test_a_silent_node_is_named() -> None:
    found = with_node(3, alive=False, heartbeat_ms=61_500)
    (problem,) = problems(found)
    assert (problem.text, health(found)) == ("node-3 has been silent for 61.5 s", DEGRADED)
    assert problem.step.startswith("start it again at h3:10500")


def test_silent_nodes_are_named_where_they_are_missed() -> None:
    unavailable_reason = "node-2 does not confirm the primary"
    found = with_node(2, alive=False)._replace(unavailable_reason=unavailable_reason)
    assert problems(found)[0].step == "start or reconnect node-2"


def test_who_went_leaves_a_trace() -> None:
    gone = DepartedMember(9, "node-9", "::1", 10500, 90_000, "silent for 30 s")
    shown = lines_of(Picture(reply(departed=(gone,)), None))
    assert "gone      node-9 (member 9, [::1]:10500) 90 s ago: silent for 30 s" in shown
    assert health(reply(departed=(gone,))) == HEALTHY
    assert described_picture(Picture(reply(departed=(gone,)), None))["departed"][0]["number"] == 9


def test_a_journal_that_cannot_be_written_is_said() -> None:
    usage = NodeUsage(2, 1, 1000, 5, trouble="the disk of the node's journal is full")
    (problem,) = problems(with_node(2, usage=usage))
    assert problem.text == "node-2: the disk of the node's journal is full"
    assert problem.health == DEGRADED


def test_nobody_waits_for_what_needs_room() -> None:
    short = CALM._replace(blocks=5, no_room=4)
    (problem,) = problems(reply(healing=short))
    assert problem.text == "5 blocks are short of copies, no node has room for 4"
    assert problem.step.startswith("delete files or add a node")


def test_nobody_waits_for_nodes_that_nobody_spoke_of() -> None:
    few = Picture(reply(healing=CALM._replace(under_replicated=7)), None)
    assert is_in_vain(few, 4) and waits_for(few, 4, True).startswith("under-replicated")
    assert not is_in_vain(few, 5)  # one is to come
    healing = CALM._replace(under_replicated=7, blocks=3)
    assert not is_in_vain(Picture(reply(healing=healing), None), 4)


def test_the_bounds_of_the_log_in_memory_are_shown() -> None:
    (line,) = [
        each
        for each in lines_of(Picture(reply(log_entries=9, log_bytes=2048), None))
        if each.startswith("log ")
    ]
    assert line.endswith("9 kept in memory (2 KiB; at most 100000, 64 MiB)")


def test_what_is_bounded_for_each_client_is_shown() -> None:
    connections, xattrs = (
        BoundStatus("connections", 7, 3, 10, 12),
        BoundStatus("xattr_bytes", 2048, 1, 9, 4096),
    )
    picture = Picture(reply(), None, bounds=(connections, xattrs, BoundStatus("x", 0, 0, 1, 1)))
    assert [line for line in lines_of(picture) if line.startswith("bounds")] == [
        "bounds    connections: at most 3 of 10 for one, 7 of 12 for all",
        "bounds    xattr bytes: at most 1 B of 9 B for one, 2 KiB of 4 KiB for all",
    ]
    assert described_picture(picture)["bounds"] == {
        "connections": {"used": 7, "largest": 3, "limit": 10, "total_limit": 12},
        "xattr_bytes": {"used": 2048, "largest": 1, "limit": 9, "total_limit": 4096},
        "x": {"used": 0, "largest": 0, "limit": 1, "total_limit": 1},
    }


def test_addresses_of_version_6_have_brackets() -> None:
    member = MEMBERS[0]._replace(host="::1")
    shown = lines_of(Picture(reply(nodes=(node(member),)), None))
    assert "[::1]:10500" in shown[-1]


def test_low_space_is_worth_knowing_and_no_reason_to_wait() -> None:
    found = with_node(2, usage=NodeUsage(2, 901, 1000, 5))
    assert problems(found)[0].text.startswith("node-2 is 90% full")
    assert health(found) == HEALTHY
    assert not waits_for(Picture(found, None), 4, True)


def test_the_worst_comes_first() -> None:
    found = with_node(2, alive=False)._replace(unavailable_reason="no lease")
    assert [problem.health for problem in problems(found)] == [UNAVAILABLE, DEGRADED]


def test_rates_and_time_left_are_shown() -> None:
    healing = HealingStatus(
        "healing", (0, 3, 0), 3, 3 << 20, 1 << 20, 3, leaving=(LeavingStatus(2, 7, 4096, "x"),)
    )
    text = "\n".join(lines_of(Picture(reply(healing=healing), None)))
    assert "healing   3 blocks short of copies (3 with 1 left), 3 MiB to copy, 1 MiB/s" in text
    assert "about 3 s left" in text
    assert "leaving   member 2: 7 blocks, 4 KiB left, waiting for x" in text
    moving = HealingStatus("rebalancing", moves=2, move_bytes=2048, complete=True)
    text = "\n".join(lines_of(Picture(reply(healing=moving), None)))
    assert "healing   2 blocks to move, 2 KiB, balancing at 0 B/s" in text


def test_waiting_ends_when_every_block_was_looked_at() -> None:
    looking = Picture(reply(healing=HealingStatus()), None)
    assert waits_for(looking, 4, True) == "the blocks are being looked at"
    moving = Picture(reply(healing=CALM._replace(state="rebalancing", moves=3)), None)
    assert waits_for(moving, 4, True) == "3 blocks are being moved"
    assert waits_for(moving, 4, False) == ""
    assert waits_for(Picture(reply(), None), 5, True) == "4 of 5 nodes are there"
    assert waits_for(Picture(reply(), None), 4, True) == ""


def test_json_of_a_healthy_cluster() -> None:
    found = described_picture(Picture(reply(), None))
    assert found["health"] == "healthy" and found["healthy"] is True
    assert (found["required"], found["in_sync"]) == (2, [1, 2, 3])
    assert sum(each["ring_share"] for each in found["nodes"]) == 1


def test_a_node_that_takes_nothing_has_no_share_of_the_ring() -> None:
    leaver = node(MEMBERS[0]._replace(leaving=True))
    leaving = reply(nodes=(leaver, *map(node, MEMBERS[1:])))
    found = described_picture(Picture(leaving, None))
    assert found["nodes"][0]["ring_share"] == 0


# --- without one ---------------------------------------------------------------------------------


def state(number: int, role: str = "backup", **changed: Any) -> NodeStateReply:
    known = NodeStateReply(f"node-{number}", number, role, VIEW, 50 + number, True, 4000, "")
    return known._replace(**changed)


def survey(*states: NodeStateReply, silent: int = 0) -> ClusterSurvey:
    found = [Seen(Endpoint("h", index), each) for index, each in enumerate(states)]
    found += [Seen(Endpoint("s", index), None, "refused") for index in range(silent)]
    return ClusterSurvey(tuple(found))


OUTSIDER = state(4, "member")
"""Not in sync any more, and holds what it had."""


def test_nobody_answers() -> None:
    found = survey(silent=2)
    assert diagnosis(found).text == "no node answers"
    assert planned(found).refusal.startswith("no reachable node knows the cluster")
    lines = lines_of(Picture(None, found))
    assert lines[0] == "cluster   (not known): unavailable"
    assert sum("no answer" in line for line in lines[1:]) == 2


def test_nodes_that_have_not_joined() -> None:
    waiting = state(0, "member", view=None, applied=0, unavailable_reason="no word from etcd")
    assert "have not joined a cluster: no word from etcd" in diagnosis(survey(waiting)).text


def test_all_in_sync_nodes_are_gone() -> None:
    found = survey(OUTSIDER, silent=3)
    problem = diagnosis(found)
    assert "node-1 (h1:10500), node-2 (h2:10500), node-3 (h3:10500)" in problem.text
    assert "force-recover --accept-data-loss" in problem.step
    assert health_of(Picture(None, found)) == UNAVAILABLE
    shown = "\n".join(lines_of(Picture(None, found)))
    assert "the primary was heard 4.0 s ago" in shown and "refused" in shown
    described = described_survey(found)
    assert described["health"] == UNAVAILABLE
    assert [each["answers"] for each in described["nodes"]] == [True, False, False, False]
    assert waits_for(Picture(None, found), 1, True) == problem.text


def test_all_nodes_restarted_empty() -> None:
    found = survey(state(0, "member", applied=0), state(0, "member", applied=0), silent=1)
    assert "begin anew with an empty coordinator" in diagnosis(found).step
    assert "force-recover" not in diagnosis(found).step
    assert planned(found).refusal.startswith("no reachable node holds a namespace")


def test_a_backup_is_about_to_take_over() -> None:
    assert diagnosis(survey(state(2), state(3))).text == (
        "the primary node-1 is silent; node-2, node-3 can take over"
    )
    cut = diagnosis(survey(state(2, coordinator_reachable=False)))
    assert "no in-sync node reaches the coordinator" in cut.text


def test_a_primary_that_serves_nothing_says_why() -> None:
    primary = state(1, "primary", unavailable_reason="the backups do not confirm the primary")
    assert (
        "node-1 acknowledges nothing: the backups do not confirm" in diagnosis(survey(primary)).text
    )


# --- force-recover -------------------------------------------------------------------------------


def test_a_recovery_takes_the_longest_log() -> None:
    behind = state(0, "member", name="node-5", applied=3)
    plan = planned(survey(behind, OUTSIDER, silent=1))
    assert plan.chosen is not None and plan.chosen.state == OUTSIDER
    text = "\n".join(plan.lost)
    assert "all that was acknowledged after log index 54" in text
    assert "node-4 last heard of a primary 4 s ago" in text
    assert "not asked: s:0: refused" in text


@pytest.mark.parametrize(
    "survivor",
    [state(2), state(3, "taking over"), state(1, "primary"), state(2, applied=0)],
)
def test_a_recovery_is_refused_while_all_is_known(survivor: NodeStateReply) -> None:
    plan = planned(survey(OUTSIDER, survivor))
    assert plan.chosen is None and survivor.name in plan.refusal


def test_only_the_newest_view_says_who_is_in_sync() -> None:
    newer = VIEW._replace(epoch=10, in_sync=(1,), min_in_sync=1)
    deposed = state(2, applied=60)
    plan = planned(survey(deposed, OUTSIDER._replace(view=newer)))
    assert plan.chosen is not None and plan.chosen.state == deposed


def test_a_recovery_needs_something_to_begin_with() -> None:
    assert "holds a namespace" in planned(survey(OUTSIDER._replace(applied=0))).refusal


def test_what_a_node_accounts_for_stands_beside_what_the_kernel_says() -> None:
    mib = 1 << 20
    usage = NodeUsage(2, 100 * mib, 1000 * mib, 5, overhead=30 * mib, spare=20 * mib)
    found = with_node(2, usage=usage._replace(resident=150 * mib))
    (line,) = [line for line in lines_of(Picture(found, None)) if line.startswith("memory")]
    assert line.endswith("30 MiB of it overhead; 20 MiB spare; 150 MiB resident")
    assert problems(found) == []
    parted = problems(with_node(2, usage=usage._replace(resident=250 * mib)))
    assert [problem.text for problem in parted] == [
        "node-2 takes 250 MiB of memory, of which it accounts for 120 MiB"
    ]


def test_stores_out_of_reach_and_old_changes_are_told_and_harm_no_health() -> None:
    calm = MountRecord(1, b"/d", "s3://b", 0, (), False, False, "aged", 0, 0, 1, 1)
    now_ns = 10**18
    busy = calm._replace(dirty_files=3, oldest_dirty_ns=now_ns - 50 * 10**9)
    assert store_problems([calm, busy], now_ns) == []
    away = calm._replace(trouble="no\nanswer", dirty_files=2, oldest_dirty_ns=now_ns - 90 * 10**9)
    found = store_problems([calm, away], now_ns)
    assert [problem.text for problem in found] == [
        "the store mounted at /d is in trouble: no?answer",
        "the store mounted at /d lacks 2 changes, for 90 s already",
    ]
    picture = Picture(reply(), None, tuple(found))
    shown = "\n".join(lines_of(picture))
    assert health_of(picture) == HEALTHY
    assert all(problem.text in shown and problem.step in shown for problem in found)
    assert all(problem.text in headline(picture) for problem in found)
    assert len(described_picture(picture)["problems"]) == 2


def test_one_of_each_is_no_plural() -> None:
    leaving = LeavingStatus(4, 1, 10)
    healing = CALM._replace(
        blocks=1, endangered=(1,), exposed=(0, 1), corrupt=1, under_replicated=1, leaving=(leaving,)
    )
    view = VIEW._replace(in_sync=(1,), members=MEMBERS[:1])
    found = reply(view=view, nodes=(node(MEMBERS[0]),), healing=healing, reclaiming=1)
    found = found._replace(files=1, directories=1)
    text = "\n".join([*lines_of(Picture(found, None)), headline(Picture(found, None))])
    assert "1 in 1 directory" in text and "1 block has no good copy left" in text
    assert "of 1 node alive" in text and "1 block has copies on silent nodes" in text
    assert not re.search(r"\b1 (corrupt )?(\w+s|copies|directories) ", text), text
