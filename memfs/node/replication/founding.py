"""The first commands of a new cluster: the directories that everybody expects to be there.

As HDFS's administrators make them: ``/tmp`` for everybody, ``/user`` with a home for each user.
"""

from __future__ import annotations

from collections.abc import Sequence

from memfs.errors import MemfsError
from memfs.node.replication.primary import Primary
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m

TEMPORARY, HOMES = b"/tmp", b"/user"
TEMPORARY_MODE, HOMES_MODE, HOME_MODE = 0o1777, 0o755, 0o755


def found(primary: Primary, homes: Sequence[str]) -> None:
    """Command them; ``homes``: names of users. A name that cannot be a directory gets none."""
    commands: list[m.MakeDirectory | m.SetAttributes] = [
        m.MakeDirectory(TEMPORARY, TEMPORARY_MODE),
        m.MakeDirectory(HOMES, HOMES_MODE),
    ]
    for name in homes:
        path = HOMES + b"/" + name.encode()
        commands += [m.MakeDirectory(path, HOME_MODE), m.SetAttributes(path, owner=name)]
    for command in commands:
        try:
            set_aside(primary.submit_own(command))
        except MemfsError:
            return  # the role is over already: the next primary has what was commanded
