"""Settings of nodes, clients and gateways: frozen records, validated when they are built.

Owns the settings, their defaults and where they come from: TOML files, then ``MEMFS_*``
variables, then flags, the later winning field by field. Must not know who uses a setting; there
is no global getter, a configuration is passed in. Invariant: an instance that exists is valid;
all mistakes of the input are reported in one ConfigError, one a line.
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
