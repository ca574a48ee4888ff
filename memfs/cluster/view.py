"""Rules of the view record: pure functions from one view to the next.

Owns what a legal successor of a view is; knows no coordinator, clock or network. Every function
returns a new view whose epoch is one higher (EpochMonotone), in which the primary is in sync and
every in-sync member is a ring member (checked by :func:`check`). Publishing a view is a
compare-and-swap at the coordinator, never done here.
"""

from __future__ import annotations

from memfs.types import Member, View


def form(cluster: str, founder: Member) -> View:
    """The first view of a cluster: the founder alone, primary of epoch 1."""
    first = founder._replace(number=1)
    return check(View(cluster, 1, 1, (1,), (first,), 2))


def reform(view: View, founder: Member) -> View:
    """A new beginning after the only member restarted empty: numbers go on, nothing is kept."""
    number = view.next_number
    reborn = founder._replace(number=number)
    epoch = view.epoch + 1
    return check(View(view.cluster, epoch, number, (number,), (reborn,), number + 1, epoch))


def join(view: View, member: Member) -> View:
    """Add a member under a fresh number; an older incarnation of the same name leaves."""
    others = tuple(m for m in view.members if m.name != member.name or m.number == view.primary)
    joined = member._replace(number=view.next_number)
    in_sync = tuple(n for n in view.in_sync if any(m.number == n for m in others))
    return check(
        view._replace(
            epoch=view.epoch + 1,
            in_sync=in_sync,
            members=(*others, joined),
            next_number=view.next_number + 1,
        )
    )


def leave(view: View, number: int) -> View:
    """Remove a member that is not the primary."""
    return check(
        view._replace(
            epoch=view.epoch + 1,
            in_sync=tuple(n for n in view.in_sync if n != number),
            members=tuple(m for m in view.members if m.number != number),
        )
    )


def expand(view: View, number: int) -> View:
    """Count a member that has caught up as in sync (JoinAfterCatchUp is the caller's)."""
    return check(view._replace(epoch=view.epoch + 1, in_sync=(*view.in_sync, number)))


def shrink(view: View, number: int) -> View:
    """Stop counting a member as in sync; needed before anything is acknowledged without it."""
    rest = tuple(n for n in view.in_sync if n != number)
    return check(view._replace(epoch=view.epoch + 1, in_sync=rest))


def check(view: View) -> View:
    """Assert what every view must satisfy; returns it."""
    numbers = [member.number for member in view.members]
    assert view.primary in view.in_sync, "the primary is not in sync"
    assert set(view.in_sync) <= set(numbers), "an in-sync member is no member"
    assert numbers == sorted(set(numbers)), "member numbers are not unique and ascending"
    assert 0 < view.primary_since <= view.epoch, "the primary took over in the future"
    assert all(0 < number < view.next_number for number in numbers), "a number was not assigned"
    return view


def member(view: View, number: int) -> Member | None:
    """The member with this number, if it still is one."""
    for candidate in view.members:
        if candidate.number == number:
            return candidate
    return None


def incarnation_of(view: View, name: str, incarnation: int) -> Member | None:
    """The member that this very process is (IncarnationIdentity)."""
    for candidate in view.members:
        if candidate.name == name and candidate.incarnation == incarnation:
            return candidate
    return None
