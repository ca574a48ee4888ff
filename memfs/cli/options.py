"""What the commands share before they connect: options of the cluster, and operands.

Must not know the client: parsing needs no network.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from memfs.errors import InvalidPathError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from memfs.config import ClientConfig
    from memfs.paths import Endpoint

F = TypeVar("F", bound=Callable[..., object])


class WholeNumber(click.IntRange):
    """As ``int`` reads it, but in ASCII: what looks like another number is a mistake."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        text = str(value)
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            self.fail(f"{text!r} is not a valid integer.", param, ctx)
        return super().convert(int(text), param, ctx)


_NAMES = ("config", "url", "user", "request_timeout")


@dataclass
class GivenOptions:
    """The options of :func:`cluster_options` as they were given; None: not at all."""

    config: str | None = None
    url: str | None = None
    user: str | None = None
    request_timeout: str | None = None
    operand_endpoints: tuple[Endpoint, ...] = ()
    """The cluster that operands name."""


def options_of(ctx: click.Context) -> GivenOptions:
    """Those of this run, which groups and commands share."""
    return ctx.ensure_object(GivenOptions)


def cluster_options(function: F) -> F:
    """Add ``--url``, ``--user`` and their kin, accepted before and after the command's name."""
    if not _has_option(function, "--timeout"):  # one that means another time, and comes later
        function = click.option(
            "--timeout",
            "request_timeout",
            metavar="SECONDS",
            help="How long each request may take, retries included (default: 30s).",
        )(function)
    for decorate in (
        click.option("--config", metavar="FILE", help="Settings, instead of the usual files."),
        click.option("--user", metavar="NAME", help="On whose behalf (default: you)."),
        click.option("--url", metavar="URL", help="The cluster: memfs://host:port[,host:port...]."),
    ):
        function = decorate(function)
    return function


def _has_option(function: Callable[..., object], name: str) -> bool:
    declared: list[click.Parameter] = getattr(function, "__click_params__", [])
    return any(name in each.opts for each in declared)


def remember(ctx: click.Context, given: dict[str, object]) -> None:
    """Take the options of :func:`cluster_options` out of ``given``; later (inner) ones win."""
    known = options_of(ctx)
    for name in _NAMES:
        if value := given.pop(name, None):
            setattr(known, name, value)


def client_config(ctx: click.Context) -> ClientConfig:
    """The client's configuration, options included. Raises ConfigError."""
    from memfs.config import ClientConfig, load

    return load(ClientConfig, path=options_of(ctx).config, flags=client_flags(ctx))


def client_flags(ctx: click.Context) -> dict[str, object]:
    """The client's settings that the options give."""
    from memfs import machine

    known = options_of(ctx)
    flags: dict[str, object] = {
        "endpoints": known.operand_endpoints or known.url,
        "user": known.user,
        "timeout_seconds": known.request_timeout,
    }
    if known.user:  # groups that are configured are somebody else's
        flags["groups"] = machine.groups_of(known.user)
    return flags


class Operand(str):
    """A path in the cluster: absolute and normalised, except that a ``/`` at its end is kept. It
    then means a directory only, and the target of a symbolic link, as for the kernel.
    """

    content: str = ""
    """The path as it was typed when it ends in ``.`` or ``..``: the content is meant."""

    @property
    def bare(self) -> str:
        """The path without the slash."""
        return self.rstrip("/") or "/"


class PathType(click.ParamType[Operand]):
    """A path or ``memfs://`` URL. The cluster that a URL names is the one that is connected to."""

    name = "path"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Operand:
        """Raises a usage error for what is no path, or for a second cluster."""
        from memfs.paths import parse_url

        if isinstance(value, Operand):
            return value
        if not isinstance(value, str) or not value:
            self._refuse("an empty path", param, ctx)
        try:
            location = parse_url(value)
        except InvalidPathError as error:
            self._refuse(error.message, param, ctx)
        if location.endpoints and ctx is not None:
            known = options_of(ctx)
            known.operand_endpoints = known.operand_endpoints or location.endpoints
            if known.operand_endpoints != location.endpoints:
                text = f"{value!r} names other nodes than the operands before: name the same ones"
                self._refuse(text, param, ctx)
        slash = "/" * (value.endswith(("/", "/.")) and location.path != "/")
        operand = Operand(location.path + slash)
        if value.rstrip("/").rpartition("/")[2] in (".", ".."):
            operand.content = value
        return operand

    def _refuse(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(text, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Names in the cluster that begin with this; none when it does not answer at once."""
        from memfs.cli.path_completion import complete_path

        return complete_path(lambda: client_config(ctx), incomplete)


class LocalPath(click.Path):
    """A path of this machine. The empty one is none: it would become the current directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises a usage error."""
        if value == "":
            self.fail("an empty path", param, ctx)
        return super().convert(value, param, ctx)


class Quantity(click.ParamType[object]):
    """A size or duration; ``parse`` raises ValueError with the reason."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Raises a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


PATH = PathType()
json_option = click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
