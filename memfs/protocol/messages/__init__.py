# ruff: noqa: F403  a name is declared once, in the module of its opcode's range
"""Every message of the protocol: a request beside its reply, declared once.

A message is a named tuple (its fields are the msgpack array, in order) registered under an opcode
that is never reused. The decorator says how it is carried: over the ``bulk`` connection or the
``control`` one; as a ``command``, which the primary puts into the replicated log; only between
nodes (``peer``). Types are those of ``memfs.types``.

Opcodes: 1-31 session, 32-63 cluster, 64-127 namespace reads, 128-191 namespace commands,
192-223 blocks, 224-255 coordinator: a module each, commands a module per family; questions and
commands about locks share one, and so do those about open files, and those about users.
"""

from memfs.protocol.messages.accounts import *
from memfs.protocol.messages.blocks import *
from memfs.protocol.messages.cluster import *
from memfs.protocol.messages.commands import *
from memfs.protocol.messages.coordinator import *
from memfs.protocol.messages.locks import *
from memfs.protocol.messages.mounts import *
from memfs.protocol.messages.opens import *
from memfs.protocol.messages.reads import *
from memfs.protocol.messages.registry import *
from memfs.protocol.messages.session import *
from memfs.protocol.messages.watch import *
