"""The harness: rounds alternate, the first is not counted, targets are judged both ways."""

from __future__ import annotations

import io

from rich.console import Console

from benchmarks.harness import Row, alternate, readable, show


def row(ours: float, **changes: object) -> Row:
    return Row("name", "1/s", ours, "peer", 100.0, 0.8, **changes)  # type: ignore[arg-type]


def test_contenders_take_turns_and_the_first_round_warms_up() -> None:
    order: list[str] = []
    figures = iter([1000.0, 1000.0, 1.0, 10.0, 2.0, 20.0, 9.0, 90.0])

    def contender(name: str) -> float:
        order.append(name)
        return next(figures)

    medians = alternate({"a": lambda: contender("a"), "b": lambda: contender("b")}, rounds=3)
    assert order == ["a", "b"] * 4
    assert medians == {"a": 2.0, "b": 20.0}


def test_a_rate_must_reach_its_target() -> None:
    assert row(80.0).reached
    assert not row(79.0).reached


def test_a_cost_must_not_exceed_its_target() -> None:
    assert row(80.0, lower_is_better=True).reached
    assert not row(81.0, lower_is_better=True).reached


def test_numbers_keep_their_significant_digits() -> None:
    assert [readable(value) for value in (123456.7, 99.94, 0.1234)] == ["123,457", "99.9", "0.123"]


def test_the_table_shows_both_numbers_and_the_verdict() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    show([row(50.0)], console, "title")
    text = console.export_text()
    assert all(word in text for word in ("name", "50", "peer", "100", "0.50", "≥ 0.8", "no"))
