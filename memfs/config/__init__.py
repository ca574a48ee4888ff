"""What a node, a client and a gateway can be told: frozen records, checked as they are built.

Owns the settings, their defaults and where they come from: TOML files, then ``MEMFS_*``
variables, then flags, the later winning field by field. Must not know who uses a setting; there
is no global getter, a configuration is passed in. Invariant: an instance that exists is valid,
and what is wrong with the input is said all at once, in one ConfigError of a mistake a line.
"""

from memfs.config.client import ClientConfig
from memfs.config.gateway import GatewayConfig
from memfs.config.node import MONITORING_OFFSET, NodeConfig
from memfs.config.record import setting
from memfs.config.sources import Resolved, load, resolve, shown

__all__ = [
    "MONITORING_OFFSET",
    "ClientConfig",
    "GatewayConfig",
    "NodeConfig",
    "Resolved",
    "load",
    "resolve",
    "setting",
    "shown",
]
