"""ReceiverFence: a node that follows a primary refuses the orders of a former one.

Pure: a view, who sent something, and under which epoch.
"""

from __future__ import annotations

from memfs import errors
from memfs.cluster import view as rules
from memfs.transport.server import IncomingCall
from memfs.types import View


def check_from_primary(view: View | None, call: IncomingCall[object]) -> View:
    """The view, if ``call`` comes from the primary of its term. Raises StaleEpochError.

    The sender is identified by its incarnation, since a connection may be older than the member
    number of the node that opened it. A lower epoch of the same term is no danger: its log has one
    order, and frames that were on their way when the primary published a view must not count as
    lost.
    """
    epoch = call.header.epoch
    if view is None or epoch < view.primary_since:
        known = view.epoch if view else 0
        raise errors.StaleEpochError(f"epoch {epoch} is over, {known} is known here")
    primary = rules.member(view, view.primary)
    if primary is None or call.connection.peer.incarnation != primary.incarnation:
        raise errors.StaleEpochError(f"the sender is not the primary of epoch {view.epoch}")
    return view
