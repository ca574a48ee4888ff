"""Rules of the view record: pure functions from one view to the next.

Owns what a legal successor of a view is; knows no coordinator, clock or network. Every function
returns a new view whose epoch is one higher (EpochMonotone), in which the primary is in sync and
every in-sync member is a ring member (checked by :func:`check`). Publishing a view is a
compare-and-swap at the coordinator, never done here.
"""

from __future__ import annotations

from collections.abc import Callable

from memfs import errors
from memfs.limits import EPOCHS_AT_ONCE
from memfs.types import Member, View


def form(cluster: str, founder: Member, *, journaled: bool = False) -> View:
    """The first view of a cluster: the founder alone, primary of epoch 1."""
    first = founder._replace(number=1)
    return check(View(cluster, 1, 1, (1,), (first,), 2, journaled=journaled))


def reform(view: View, founder: Member, *, journaled: bool = False) -> View:
    """Form the cluster again after its only member restarted empty; numbers are not reused."""
    number = view.next_number
    reborn = founder._replace(number=number)
    epoch = view.epoch + 1
    fresh = View(view.cluster, epoch, number, (number,), (reborn,), number + 1, epoch)
    return check(fresh._replace(journaled=journaled))


def join(view: View, member: Member) -> View:
    """Add a member under a fresh number; an older incarnation of the same name leaves.

    The very incarnation that is a member already changes nothing.
    """
    if incarnation_of(view, member.name, member.incarnation) is not None:
        return view
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


def promote(view: View, number: int) -> View:
    """Make an in-sync member the primary; the silent former one goes where it can be spared.

    Else it stays in sync, as the last one: it has all that was acknowledged (MinInSync).
    """
    rest = tuple(n for n in view.in_sync if n not in (number, view.primary))
    kept = () if can_spare(view) else (view.primary,)
    return _term(view, number, (number, *rest, *kept))


def hand_over(view: View, number: int) -> View:
    """The primary passes its role to an in-sync member and stays in sync itself."""
    assert number in view.in_sync, "the role goes to an in-sync member only"
    rest = tuple(n for n in view.in_sync if n != number)
    return _term(view, number, (number, *rest))


def recover(view: View, survivor: Member) -> View:
    """An operator accepts the loss of the in-sync set: the survivor becomes primary, alone.

    It is added under a fresh number when it is no member yet.
    """
    known = incarnation_of(view, survivor.name, survivor.incarnation)
    if known is None:
        others = tuple(m for m in view.members if m.name != survivor.name)
        known = survivor._replace(number=view.next_number)
        view = view._replace(members=(*others, known), next_number=view.next_number + 1)
    return _term(view._replace(min_in_sync=1), known.number, (known.number,))


def revive(view: View, number: int, member: Member, *, complete: bool) -> View:
    """A member restarts with what it had: a new incarnation under the number that it had.

    ``complete``: it has every entry that it ever acknowledged, and stays in sync if it was. A
    number that was taken out meanwhile comes back as a member that has to catch up.
    """
    assert 0 < number < view.next_number, "a number that was never given"
    others = [known for known in view.members if known.number != number]
    members = sorted([*others, member._replace(number=number)])
    in_sync = tuple(n for n in view.in_sync if n != number or complete)
    revived = view._replace(epoch=view.epoch + 1, in_sync=in_sync, members=tuple(members))
    if number == view.primary:
        revived = revived._replace(primary_since=revived.epoch)
    return check(revived)


def _term(view: View, primary: int, in_sync: tuple[int, ...]) -> View:
    epoch = view.epoch + 1
    return check(view._replace(epoch=epoch, primary=primary, in_sync=in_sync, primary_since=epoch))


def leave(view: View, number: int) -> View:
    """Remove a member that is not the primary; a smaller cluster cannot keep as many copies."""
    members = tuple(m for m in view.members if m.number != number)
    return check(
        view._replace(
            epoch=view.epoch + 1,
            in_sync=tuple(n for n in view.in_sync if n != number),
            members=members,
            min_in_sync=min(view.min_in_sync, len(members)),
        )
    )


def expand(view: View, number: int, wanted: int = 1) -> View:
    """Count a member that has caught up as in sync (JoinAfterCatchUp is the caller's).

    Once ``wanted`` members are in sync, fewer do not suffice any more (MinInSync).
    """
    in_sync = (*view.in_sync, number)
    least = max(view.min_in_sync, min(wanted, len(in_sync)))
    return check(view._replace(epoch=view.epoch + 1, in_sync=in_sync, min_in_sync=least))


def can_spare(view: View) -> bool:
    """May the in-sync set lose a member (MinInSync)?

    Below the number that acknowledgements need, removing one only prevents it from taking over.
    """
    return len(view.in_sync) > view.min_in_sync


def shrink(view: View, number: int) -> View:
    """Stop counting a member as in sync; needed before anything is acknowledged without it."""
    assert can_spare(view), "fewer would be in sync than acknowledgements need"
    rest = tuple(n for n in view.in_sync if n != number)
    return check(view._replace(epoch=view.epoch + 1, in_sync=rest))


def reweigh(view: View, number: int, weight: int) -> View:
    """Give a member another share of the ring."""
    return _with_member(view, number, lambda m: m._replace(weight=weight))


def retire(view: View, number: int, leaving: bool) -> View:
    """Begin or, with ``leaving`` false, call off the decommission of a member."""
    return _with_member(view, number, lambda m: m._replace(leaving=leaving))


def _with_member(view: View, number: int, changed: Callable[[Member], Member]) -> View:
    members = tuple(changed(m) if m.number == number else m for m in view.members)
    if members == view.members:
        return view
    return check(view._replace(epoch=view.epoch + 1, members=members))


def check(view: View) -> View:
    """Assert what every view must satisfy; returns it."""
    what = _fault(view)
    assert not what, what
    return view


def received(view: View, known: View | None) -> View:
    """Check a view received from somebody else; returns it.

    ``known``: the newest view before. Raises ProtocolError for a view that breaks the rules.
    """
    what = _fault(view)
    if not what and known is not None:
        if view.cluster != known.cluster:
            what = f"it is of cluster {view.cluster}, not of {known.cluster}"
        elif view.epoch > known.epoch + EPOCHS_AT_ONCE:
            what = f"epoch {view.epoch} is too far from {known.epoch}"
    if what:
        raise errors.ProtocolError(f"this is no view of the cluster: {what}")
    return view


def _fault(view: View) -> str:
    """What is wrong with a view, empty when nothing is."""
    numbers = [member.number for member in view.members]
    rules = (
        (view.primary in view.in_sync, "the primary is not in sync"),
        (set(view.in_sync) <= set(numbers), "an in-sync member is no member"),
        (len(set(view.in_sync)) == len(view.in_sync), "a member is in sync twice"),
        (numbers == sorted(set(numbers)), "member numbers are not unique and ascending"),
        (0 < view.primary_since <= view.epoch, "the primary took over in the future"),
        (all(0 < n < view.next_number for n in numbers), "a number was not assigned"),
        (
            1 <= view.min_in_sync <= len(numbers),
            "more copies are required than there are members",
        ),
    )
    return next((what for holds, what in rules if not holds), "")


def member(view: View, number: int) -> Member | None:
    """The member with this number, if it still is one."""
    for candidate in view.members:
        if candidate.number == number:
            return candidate
    return None


def named(view: View, name: str) -> Member | None:
    """The newest member of this name, if there is one."""
    return max((each for each in view.members if each.name == name), default=None)


def has_met(view: View, known: View) -> bool:
    """Is somebody a member who was one, or might have been, when ``known`` was the view?

    If not, the cluster may have been formed again meanwhile, and have given inodes anew.
    """
    return any(each.number < known.next_number for each in view.members)


def incarnation_of(view: View, name: str, incarnation: int) -> Member | None:
    """The member that this very process is (IncarnationIdentity)."""
    for candidate in view.members:
        if candidate.name == name and candidate.incarnation == incarnation:
            return candidate
    return None
