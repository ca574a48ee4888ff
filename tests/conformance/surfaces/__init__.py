"""All surfaces by name. A new one is a module here and a line below."""

from __future__ import annotations

from .cli import CliSurface
from .client import AioSurface, BlockingSurface
from .model import ModelSurface
from .posix import PosixSurface
from .secure import SecureSurface
from .webhdfs import WebHdfsSurface

_ALL = (
    ModelSurface,
    PosixSurface,
    AioSurface,
    BlockingSurface,
    SecureSurface,
    CliSurface,
    WebHdfsSurface,
)
SURFACES = {cls.name: cls for cls in _ALL}
