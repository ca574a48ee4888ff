# ruff: noqa: F403  a name is declared once, in the module of its family
"""Messages 128-191: commands of the replicated log, a module per family.

Applied exactly once per (client, request id). Paths are as in ``memfs.protocol.messages.reads``.
The node has a module of the same name for most of them in ``memfs.node.namespace.commands``.
"""

from memfs.protocol.messages.commands.attributes import *
from memfs.protocol.messages.commands.drafts import *
from memfs.protocol.messages.commands.files import *
from memfs.protocol.messages.commands.names import *
from memfs.protocol.messages.commands.primary_commands import *
from memfs.protocol.messages.commands.put import *
from memfs.protocol.messages.commands.sessions import *
from memfs.protocol.messages.commands.tokens import *
