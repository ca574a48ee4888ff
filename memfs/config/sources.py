"""Where settings come from: files, then variables, then flags, the later winning field by field."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from memfs import machine
from memfs.config.client import ClientConfig
from memfs.config.gateway import GatewayConfig
from memfs.config.node import NodeConfig
from memfs.config.record import reason
from memfs.errors import ConfigError, MemfsError

SYSTEM_FILE = "/etc/memfs/memfs.toml"
USER_FILE = ".config/memfs/memfs.toml"
"""In the home of the user, if there is one."""

C = TypeVar("C", bound=NodeConfig | ClientConfig | GatewayConfig)
_TABLES: dict[type, str] = {NodeConfig: "node", ClientConfig: "client", GatewayConfig: "gateway"}
_FLAGS = {"endpoints": "--url", "timeout_seconds": "--timeout"}
"""The flags that are not called as their settings are."""


class Resolved(NamedTuple, Generic[C]):
    """A configuration and, per field that was set, where it was: a file, a variable, a flag."""

    config: C
    origins: dict[str, str]


class _Given(NamedTuple):
    """One setting as found."""

    name: str
    value: object
    origin: str


def load(
    kind: type[C],
    *,
    path: str | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> C:
    """The configuration of ``kind`` from files, environment and flags; see :func:`resolve`."""
    return resolve(kind, path=path, flags=flags, environ=environ).config


def resolve(
    kind: type[C],
    *,
    path: str | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved[C]:
    """As :func:`load`, with the origin of each setting.

    Args: ``path``, the file to read instead of ``$MEMFS_CONFIG`` or the default ones; ``flags``,
    field names to values, None meaning "not given"; ``environ``, instead of ``os.environ``.
    Raises ConfigError with one mistake a line.
    """
    environ = os.environ if environ is None else environ
    mistakes: list[str] = []
    given = list(_from_files(_TABLES[kind], path or environ.get("MEMFS_CONFIG"), mistakes))
    given += _from_environment(kind, environ, mistakes)
    given += [
        _Given(name, value, _FLAGS.get(name) or "--" + name.replace("_", "-"))
        for name, value in (flags or {}).items()
        if value is not None
    ]
    values, origins = _parse(kind, given, mistakes)
    try:
        config = kind(**values)
    except ConfigError as error:
        mistakes += error.message.splitlines()
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return Resolved(config, origins)


def _parse(
    kind: type[C], given: list[_Given], mistakes: list[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The last valid value of each field, and its origin."""
    fields = {each.name: each for each in dataclasses.fields(kind)}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for name, value, origin in given:
        if name not in fields:
            mistakes.append(f"{origin}: unknown{_suggestion(name, fields)}")
            continue
        try:
            values[name] = fields[name].metadata["parse"](value)
            origins[name] = origin
        except (ValueError, MemfsError) as error:
            mistakes.append(f"{origin}: {reason(error)}")
    return values, origins


def _from_files(table: str, named: str | None, mistakes: list[str]) -> Iterator[_Given]:
    usual = (SYSTEM_FILE, machine.in_home(USER_FILE))
    for path in map(_expanded, filter(None, [named] if named else usual)):
        if named or _is_there(path):
            content = _read(path, mistakes)
            for key in content.keys() - set(_TABLES.values()):
                mistakes.append(f"{path}: [{key}] unknown{_suggestion(key, _TABLES.values())}")
            for kind, name in _TABLES.items():
                keys = content.get(name, {})
                if not isinstance(keys, dict):
                    mistakes.append(f"{path}: {name} is no table: write [{name}]")
                elif name == table:
                    for key, value in keys.items():
                        yield _Given(key, value, f"{path}: [{name}] {key}")
                else:
                    for key in keys.keys() - _fields(kind):
                        wrong = f"unknown{_suggestion(key, _fields(kind))}"
                        mistakes.append(f"{path}: [{name}] {key}: {wrong}")


def _expanded(name: str) -> Path:
    """Expand ``~``, unless the home directory is unknown."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _is_there(path: Path) -> bool:
    """Whether the file exists; False where the process may not look."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _read(path: Path, mistakes: list[str]) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        mistakes.append(f"{path}: {error.strerror}")
    except UnicodeDecodeError:
        mistakes.append(f"{path}: it is not text")
    except ValueError as error:
        mistakes.append(f"{path}: {error}")
    return {}


def _from_environment(
    kind: type[C], environ: Mapping[str, str], mistakes: list[str]
) -> Iterator[_Given]:
    prefix = f"MEMFS_{_TABLES[kind].upper()}_"
    if kind is ClientConfig and environ.get("MEMFS_URL"):
        if "MEMFS_CLIENT_ENDPOINTS" in environ:
            mistakes.append("MEMFS_URL: set together with MEMFS_CLIENT_ENDPOINTS: keep one")
        yield _Given("endpoints", environ["MEMFS_URL"], "MEMFS_URL")
    for variable in sorted(environ):
        if variable.startswith(prefix):
            yield _Given(variable[len(prefix) :].lower(), environ[variable], variable)
        elif variable.startswith("MEMFS_") and not _is_known(variable, environ[variable]):
            mistakes.append(f"{variable}: unknown{_suggestion(variable, _variables(), str)}")


def _fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _variables() -> set[str]:
    """Every variable that some process of memfs reads."""
    settings = {
        f"MEMFS_{table.upper()}_{name.upper()}"
        for kind, table in _TABLES.items()
        for name in _fields(kind)
    }
    return {"MEMFS_URL", "MEMFS_CONFIG"} | settings


def _is_known(variable: str, value: str) -> bool:
    """Whether a variable that is no setting of this process has another known use."""
    if _OF_SERVICES.fullmatch(variable) or value.startswith(("tcp://", "udp://")):
        return True
    return variable in _variables() or variable.startswith(_OF_DEPLOYMENT)


_OF_SERVICES = re.compile(
    r"MEMFS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)"
)
"""What Kubernetes tells every container of a namespace about a service named memfs."""
_OF_DEPLOYMENT = (
    *("MEMFS_BIND", "MEMFS_SUBNET", "MEMFS_SUPERUSER", "MEMFS_CONTAINER_MEMORY", "MEMFS_WHEELS"),
    *("MEMFS_BULK", "MEMFS_MOUNT", "MEMFS_PROPAGATION"),
    *("MEMFS_IMAGE", "MEMFS_BASE_IMAGE", "MEMFS_ETCD_IMAGE", "MEMFS_PROXY_IMAGE"),
    *("MEMFS_PROMETHEUS_IMAGE", "MEMFS_TEST_"),
)
"""Of the compose file and of the tests: a shell may have exported them."""


def _suggestion(name: str, known: Iterable[str], spelt: Callable[[str], str] = str.lower) -> str:
    import difflib

    close = difflib.get_close_matches(spelt(name), sorted(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def shown(config: NodeConfig | ClientConfig | GatewayConfig) -> dict[str, Any]:
    """Fields to values fit for printing: plain TOML types, secrets hidden."""
    result: dict[str, object] = {}
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if each.metadata["secret"] and value:
            value = "********"
        elif isinstance(value, tuple):
            value = [str(item) for item in value]
        result[each.name] = value
    return result
