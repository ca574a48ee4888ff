"""Where settings come from: files, then variables, then flags, the later winning field by field."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from memfs.config.client import ClientConfig
from memfs.config.gateway import GatewayConfig
from memfs.config.node import NodeConfig
from memfs.config.record import reason
from memfs.errors import ConfigError, MemfsError

SYSTEM_FILE = "/etc/memfs/memfs.toml"
USER_FILE = "~/.config/memfs/memfs.toml"

C = TypeVar("C", bound=NodeConfig | ClientConfig | GatewayConfig)
_TABLES: dict[type, str] = {NodeConfig: "node", ClientConfig: "client", GatewayConfig: "gateway"}


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
        _Given(name, value, "--" + name.replace("_", "-"))
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
    values: dict[str, Any] = {}
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
    for name in [named] if named else [SYSTEM_FILE, USER_FILE]:
        path = Path(name).expanduser()
        if named or path.exists():
            content = _read(path, mistakes)
            for key in content.keys() - set(_TABLES.values()):
                mistakes.append(f"{path}: [{key}] unknown{_suggestion(key, _TABLES.values())}")
            chosen = content.get(table, {})
            if not isinstance(chosen, dict):
                mistakes.append(f"{path}: {table} is no table: write [{table}]")
                continue
            for key, value in chosen.items():
                yield _Given(key, value, f"{path}: [{table}] {key}")


def _read(path: Path, mistakes: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        mistakes.append(f"{path}: {error.strerror}")
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


def _suggestion(name: str, known: Any) -> str:
    import difflib

    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def shown(config: NodeConfig | ClientConfig | GatewayConfig) -> dict[str, Any]:
    """Fields to values fit for printing: plain TOML types, secrets hidden."""
    result: dict[str, Any] = {}
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if each.metadata["secret"] and value:
            value = "********"
        elif isinstance(value, tuple):
            value = [str(item) for item in value]
        result[each.name] = value
    return result
