"""Nodes of one machine share its memory: what each takes, of what, and until when."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.limits import MIB
from memfs.machine import MACHINE, NO_LIMIT, MemoryDomain
from memfs.node.resources.claims import DIRECTORY, LEAST_BYTES, Claim, Claims, excess, share
from memfs.transport.disk import FileDisk

GIB = 1024 * MIB
RAM = MemoryDomain(MACHINE, 24 * GIB)


def claims(directory: Path, *domains: MemoryDomain) -> Claims:
    return Claims(FileDisk(), str(directory), domains or (RAM,))


def claim(memory: int, *names: str, node: str = "n") -> Claim:
    return Claim(node, memory, frozenset(names or (MACHINE,)))


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(record.memfs_fields["reason"]) for record in caplog.records]


@given(st.integers(1, 1 << 42), st.lists(st.integers(0, 1 << 42), max_size=8))
def test_half_of_what_others_leave(limit: int, taken: list[int]) -> None:
    others = [claim(each) for each in taken]
    found = share([MemoryDomain(MACHINE, limit)], others).memory
    least = min(LEAST_BYTES, limit // 16)
    assert found == max(least, (limit - sum(taken)) // 2)


@given(st.integers(1 << 27, 1 << 42), st.integers(1, 30))
def test_nodes_that_are_told_nothing_never_take_more_than_there_is(limit: int, count: int) -> None:
    domain, others = MemoryDomain(MACHINE, limit), list[Claim]()
    for _ in range(count):
        found = share([domain], others).memory
        if found <= min(LEAST_BYTES, limit // 16):
            break
        others.append(claim(found))
        assert not excess([domain], found, others[:-1])
    assert sum(each.memory for each in others) <= limit


def test_a_container_bounds_those_in_it_and_takes_of_the_machine() -> None:
    """Two groups of 4 GiB, one in the other's sight and not below it."""
    own, other = MemoryDomain("ns 2:/a", 4 * GIB), MemoryDomain("ns 2:/b", 4 * GIB)
    top = MemoryDomain("ns 2:/", NO_LIMIT)
    mate, stranger = claim(GIB, MACHINE, top.name, own.name), claim(3 * GIB, MACHINE, other.name)
    found = share([RAM, own, top], [mate, stranger])
    assert found.memory == 3 * GIB // 2
    assert found.reason == "half of 4 GiB of the container less 1 GiB claimed by n"
    outside = share([RAM, top], [mate, stranger])
    assert outside.memory == 10 * GIB, "both take of the machine"
    full = share([RAM, own], [claim(22 * GIB)])
    assert full.memory == GIB, "the machine has less left than the container allows"


def test_what_is_left_is_the_least_that_a_node_takes() -> None:
    found = share([RAM], [claim(24 * GIB, node="greedy")])
    assert found == (
        64 * MIB,
        "the least, for there is no more: 24 GiB of memory less 24 GiB claimed by greedy",
    )
    assert share([MemoryDomain(MACHINE, 160 * MIB)], [claim(GIB)]).memory == 10 * MIB


def test_a_node_that_is_started_again_takes_what_it_had_where_that_is_left() -> None:
    others = [claim(6 * GIB)]
    assert share([RAM], others, 12 * GIB).memory == 12 * GIB
    assert share([RAM], others, 19 * GIB).memory == 9 * GIB
    assert share([RAM], others, GIB).memory == 9 * GIB
    assert share([RAM], others, 12 * GIB).reason.startswith("as before its restart: 24 GiB of")


def test_too_many_claims_are_told() -> None:
    others = [claim(20 * GIB, node=f"n{number}") for number in range(5)]
    assert not excess([RAM], 30 * GIB, []), "alone, it is the operator's business"
    assert not excess([RAM], 4 * GIB, others[:1])
    assert excess([RAM], 5 * GIB, others) == (
        "with n0, n1, n2 and 2 more the nodes may take 105 GiB, the machine has 24 GiB: "
        "lower their memory"
    )
    own = MemoryDomain("2:/a", 4 * GIB)
    assert "their container has 4 GiB" in excess([RAM, own], GIB, [claim(4 * GIB, "2:/a")])


async def test_each_node_takes_half_of_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second, third = (claims(tmp_path) for _ in range(3))
    assert await first.take("a", None) == 12 * GIB
    assert await second.take("b", None) == 6 * GIB
    second.release()
    assert await third.take("c", 2 * GIB) == 2 * GIB
    assert await claims(tmp_path).take("d", None) == 5 * GIB
    assert reasons(caplog) == [
        "half of 24 GiB of memory",
        "half of 24 GiB of memory less 12 GiB claimed by a",
        "half of 24 GiB of memory less 14 GiB claimed by a, c",
    ]


async def test_after_a_restart_the_claim_is_as_before(tmp_path: Path) -> None:
    first, second = claims(tmp_path), claims(tmp_path)
    assert await first.take("a", None) == 12 * GIB
    assert await second.take("b", None) == 6 * GIB
    first.release()
    assert await claims(tmp_path).take("a", None) == 12 * GIB


async def test_what_an_operator_once_said_is_not_taken_again(tmp_path: Path) -> None:
    first = claims(tmp_path)
    await first.take("a", 20 * GIB)
    first.release()
    assert await claims(tmp_path).take("a", None) == 12 * GIB


async def test_two_nodes_of_a_name_have_two_claims(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = claims(tmp_path), claims(tmp_path)
    assert await first.take("a", 16 * GIB) == 16 * GIB
    assert await second.take("a", 16 * GIB) == 16 * GIB
    assert reasons(caplog) == [
        "with a the nodes may take 32 GiB, the machine has 24 GiB: lower their memory"
    ]
    assert await claims(tmp_path).take("b", None) == 64 * MIB


async def test_claims_of_others_that_ended_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(70):
        for memory, kind in ((None, "chosen"), (GIB, "told")):
            each = claims(tmp_path)
            await each.take(f"{kind}{number}", memory)
            each.release()
    left = list((tmp_path / DIRECTORY).iterdir())
    assert 60 < len(left) < 70


async def test_what_is_no_claim_claims_nothing(tmp_path: Path) -> None:
    directory = tmp_path / DIRECTORY
    directory.mkdir()
    held = [FileDisk().lock(str(directory / f"strange{number}")) for number in range(3)]
    for number, text in enumerate(['{"node": "x"}', "[]", '{"node": "\\n", "memory": 1}']):
        (directory / f"strange{number}").write_text(text)
    (directory / "old").write_text("{")
    assert await claims(tmp_path).take("a", None) == 12 * GIB
    assert all(held) and not (directory / "old").exists()


async def test_without_a_directory_nobody_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert await Claims(FileDisk(), "", (RAM,)).take("a", None) == 12 * GIB
    file = tmp_path / "file"
    file.write_text("")
    assert await claims(file).take("a", None) == 12 * GIB
    assert await claims(file).take("a", GIB) == GIB
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == [
        "no claim of memory"
    ] * 2


async def test_nobody_waits_for_ever_for_who_stands_still(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memfs.node.resources.claims._GUARD_ATTEMPTS", 3)
    (tmp_path / DIRECTORY).mkdir()
    guard = FileDisk().lock(str(tmp_path / DIRECTORY / "lock"))
    assert guard is not None
    assert await claims(tmp_path).take("a", None) == 12 * GIB
    assert "another node looks" in reasons(caplog)[0]
    guard.release()
