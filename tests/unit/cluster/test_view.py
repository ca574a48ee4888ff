"""The view's rules: every successor is legal, every illegal one is caught."""

from __future__ import annotations

import random

import pytest

from memfs.cluster import view as rules
from memfs.types import Member, View


def node(name: str, incarnation: int = 1) -> Member:
    return Member(0, name, incarnation, "127.0.0.1", 10500)


def three() -> View:
    view = rules.form("c", node("a"))
    for name in ("b", "c"):
        view = rules.join(view, node(name))
        view = rules.expand(view, view.members[-1].number)
    return view


def test_forming_makes_the_founder_primary_and_in_sync() -> None:
    view = rules.form("c", node("a"))
    assert (view.epoch, view.primary, view.in_sync, view.next_number) == (1, 1, (1,), 2)


def test_a_joining_member_is_not_in_sync_until_it_caught_up() -> None:
    view = rules.join(rules.form("c", node("a")), node("b"))
    assert [m.name for m in view.members] == ["a", "b"]
    assert view.in_sync == (1,)
    assert rules.expand(view, 2).in_sync == (1, 2)


def test_a_restarted_node_gets_a_new_number_and_loses_its_old_place() -> None:
    view = rules.join(three(), node("b", incarnation=2))
    assert [(m.name, m.number) for m in view.members] == [("a", 1), ("c", 3), ("b", 4)]
    assert view.in_sync == (1, 3)


def test_the_restarted_primary_does_not_evict_its_own_record() -> None:
    view = rules.join(three(), node("a", incarnation=2))
    assert view.primary == 1
    assert rules.member(view, 1) is not None


def test_shrinking_and_leaving() -> None:
    view = rules.shrink(three(), 2)
    assert view.in_sync == (1, 3)
    assert [m.number for m in rules.leave(view, 3).members] == [1, 2]
    assert rules.leave(view, 3).in_sync == (1,)


@pytest.mark.parametrize("change", ["shrink", "leave"])
def test_the_primary_cannot_be_taken_out(change: str) -> None:
    with pytest.raises(AssertionError, match="primary"):
        getattr(rules, change)(three(), 1)


def test_a_silent_primary_goes_only_where_it_can_be_spared() -> None:
    view = three()
    assert view.min_in_sync == 1
    assert rules.promote(view, 3).in_sync == (3, 2)
    needed = rules.promote(view._replace(min_in_sync=3), 3)
    assert (needed.primary, needed.in_sync, needed.primary_since) == (3, (3, 2, 1), needed.epoch)
    assert rules.promote(needed, 1).in_sync == (1, 2, 3)


def test_reforming_continues_numbers_and_epochs() -> None:
    old = three()
    view = rules.reform(old, node("a", incarnation=9))
    assert view.epoch == view.primary_since == old.epoch + 1
    assert view.primary == old.next_number
    assert view.cluster == old.cluster


def test_random_histories_keep_every_rule() -> None:
    dice = random.Random(1)
    view = rules.form("c", node("n0"))
    numbers = {1}
    for step in range(500):
        epoch = view.epoch
        others = [m.number for m in view.members if m.number != view.primary]
        idle = [n for n in others if n not in view.in_sync]
        what = dice.random()
        if what < 0.4 or not others:
            view = rules.join(view, node(f"n{dice.randrange(1, 6)}", step))
            assert view.members[-1].number not in numbers
            numbers.add(view.members[-1].number)
        elif what < 0.6 and idle:
            view = rules.expand(view, dice.choice(idle))
        elif what < 0.8 and rules.can_spare(view):
            view = rules.shrink(view, dice.choice(others))
        else:
            view = rules.leave(view, dice.choice(others))
        assert view.epoch == epoch + 1
        rules.check(view)


def test_weights_and_decommission_change_one_member() -> None:
    view = rules.join(rules.form("c", Member(0, "a", 1, "h", 1)), Member(0, "b", 2, "h", 2))
    heavy = rules.reweigh(view, 2, 300)
    assert [member.weight for member in heavy.members] == [100, 300]
    assert heavy.epoch == view.epoch + 1
    assert rules.reweigh(heavy, 2, 300) is heavy
    leaving = rules.retire(heavy, 1, True)
    assert [member.leaving for member in leaving.members] == [True, False]
    assert rules.retire(leaving, 1, False)._replace(epoch=heavy.epoch) == heavy
    assert rules.retire(heavy, 9, True) is heavy


def test_a_member_revives_under_its_number() -> None:
    view = rules.expand(rules.join(rules.form("c", node("a")), node("b")), 2)
    reborn = node("b")._replace(incarnation=99)
    revived = rules.revive(view, 2, reborn, complete=True)
    assert revived.members[1] == reborn._replace(number=2)
    assert (revived.epoch, revived.in_sync, revived.primary_since) == (view.epoch + 1, (1, 2), 1)
    assert rules.revive(view, 2, reborn, complete=False).in_sync == (1,)


def test_a_primary_that_revives_begins_a_new_reign() -> None:
    view = rules.join(rules.form("c", node("a"), journaled=True), node("b"))
    revived = rules.revive(view, 1, node("a"), complete=True)
    assert revived.primary_since == revived.epoch and revived.journaled


def test_a_number_that_was_taken_out_comes_back_out_of_sync() -> None:
    view = rules.join(rules.join(rules.form("c", node("a")), node("b")), node("c"))
    revived = rules.revive(rules.leave(view, 2), 2, node("b"), complete=True)
    assert [known.number for known in revived.members] == [1, 2, 3]
    assert revived.in_sync == (1,) and revived.next_number == 4


def test_a_cluster_that_was_formed_again_has_met_nobody_of_before() -> None:
    view = rules.join(rules.form("c", node("a")), node("b"))
    alone = rules.leave(view, 2)
    assert rules.has_met(alone, view)
    assert rules.has_met(rules.join(alone, node("c")), view)
    again = rules.reform(alone, node("a"))
    assert not rules.has_met(again, view)
    assert not rules.has_met(rules.join(again, node("c")), view)
    assert rules.has_met(rules.join(again, node("c")), again)


def test_the_newest_member_of_a_name() -> None:
    view = rules.join(rules.form("c", node("a")), node("b"))
    found = rules.named(view, "b")
    assert found is not None and found.number == 2
    assert rules.named(view, "c") is None
