"""Opens a store from a URL and options: the table of kinds.

A kind's module is imported when the first mount of it is opened, so that a node without mounts
needs none of their libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, quote, unquote

from memfs.errors import ConfigError
from memfs.stores.interface import Store
from memfs.stores.key_names import as_prefix, is_key
from memfs.stores.options import Options, masked_url, split
from memfs.stores.options import masked as masked_options
from memfs.stores.retry import TIMEOUT_SECONDS, Retry
from memfs.transport.environment import Environment

Opener = Callable[[SplitResult, Options, Environment], Store]


def open_store(url: str, options: Mapping[str, str], environment: Environment) -> Store:
    """The store behind ``url``. No request is made yet: see :meth:`Store.probe`. Raises ConfigError
    for a wrong URL or option, or a missing library.
    """
    parts = split(url)
    if parts.query or parts.fragment:
        raise ConfigError(f"{masked_url(url)} has a query: give --option NAME=VALUE instead")
    scheme, _, rest = parts.scheme.partition("+")
    opener = _KINDS.get(scheme)
    if opener is None or (scheme == "fsspec") != bool(rest):
        raise ConfigError(
            f"there are no stores of kind {parts.scheme}; there are "
            f"{', '.join(sorted(_KINDS))} (as fsspec+SCHEME)"
        )
    taken = Options(options)
    store = opener(parts, taken, environment)
    taken.finish(f"{scheme}:")
    return store


def masked(url: str, options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """URL and options as they may be shown."""
    return masked_url(url), masked_options(options)


def _local(parts: SplitResult, options: Options, environment: Environment) -> Store:
    from memfs.stores.local import LocalStore

    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ConfigError("write file:///path/of/a/directory: it is the same on every node")
    return LocalStore(unquote(parts.path).rstrip("/") or "/", environment.random)


def _s3(parts: SplitResult, options: Options, environment: Environment) -> Store:
    from memfs.stores.s3.opening import open_s3

    return open_s3(parts, options, environment)


def _cloud(parts: SplitResult, options: Options, environment: Environment) -> Store:
    from memfs.stores.clouds import CloudStore, maker

    prefix = unquote(parts.path).strip("/")
    if not parts.hostname or not is_key(prefix):
        raise ConfigError(f"write {parts.scheme}://bucket or {parts.scheme}://bucket/prefix")
    retry = _retry(options, environment)
    make = maker(parts.scheme, parts.netloc, options)
    return CloudStore(make, as_prefix(prefix), retry, numbered=parts.scheme == "gs")


def _website(parts: SplitResult, options: Options, environment: Environment) -> Store:
    from memfs.stores.http_client import HttpClient
    from memfs.stores.websites import WebsiteStore

    if not parts.hostname:
        raise ConfigError("write http://host/path of a directory")
    base = f"{parts.scheme}://{parts.netloc}{quote(unquote(parts.path)).rstrip('/')}"
    client = HttpClient(trust=options.text("ca_file"), verify=options.flag("verify_tls", True))
    return WebsiteStore(base, client, _retry(options, environment))


def _webhdfs(parts: SplitResult, options: Options, environment: Environment) -> Store:
    from memfs.stores.http_client import HttpClient
    from memfs.stores.webhdfs import WebHdfsStore, authority_of

    root = unquote(parts.path).strip("/")
    if not parts.hostname or not is_key(root):
        raise ConfigError("write webhdfs://host:port/path of a directory")
    scheme = "https" if parts.scheme == "swebhdfs" else "http"
    user, token = options.text("user", parts.username or ""), options.text("delegation_token")
    return WebHdfsStore(
        f"{scheme}://{parts.netloc.rpartition('@')[2]}",
        f"/{root}" if root else "",
        authority_of(user, token, options.text("credentials")),
        HttpClient(trust=options.text("ca_file"), verify=options.flag("verify_tls", True)),
        _retry(options, environment),
        environment.random,
    )


def _fsspec(parts: SplitResult, options: Options, environment: Environment) -> Store:
    from memfs.stores.adapter import FsspecStore, file_system

    url = parts.geturl().partition("+")[2]
    retry = _retry(options, environment)
    make, root = file_system(url, options.text("credentials"), options.rest())
    return FsspecStore(make, root, retry, environment.random)


def _retry(options: Options, environment: Environment) -> Retry:
    return Retry(environment.random, options.seconds("timeout", TIMEOUT_SECONDS))


_KINDS: dict[str, Opener] = {
    "file": _local,
    "s3": _s3,
    "gs": _cloud,
    "azblob": _cloud,
    "http": _website,
    "https": _website,
    "webhdfs": _webhdfs,
    "swebhdfs": _webhdfs,
    "fsspec": _fsspec,
}
