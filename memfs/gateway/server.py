"""One gateway: listening, and the way of a request from bytes to its operation and back.

Owns the life of everything else here. A request is parsed, its principal named, its client taken,
its operation carried out; whatever is raised on the way becomes an answer in one place.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from urllib.parse import unquote

from aiohttp import hdrs, web

from memfs.config import ClientConfig, GatewayConfig
from memfs.errors import ConfigError, MemfsError
from memfs.gateway import operations, tokens
from memfs.gateway.authentication import (
    Authenticator,
    Bearer,
    Principal,
    Proxies,
    Simple,
    Unauthenticated,
)
from memfs.gateway.call import Call, normal
from memfs.gateway.connection import Server
from memfs.gateway.csrf import check_csrf
from memfs.gateway.exceptions import (
    FILE_NOT_FOUND,
    ILLEGAL_ARGUMENT,
    INVALID_PATH,
    RUNTIME,
    Refusal,
    refusal_of,
)
from memfs.gateway.groups import Groups
from memfs.gateway.inflow import BrokenUpload
from memfs.gateway.monitoring import Monitoring
from memfs.gateway.parameters import Parameters
from memfs.gateway.redirects import PREFIX
from memfs.gateway.replies import Reply, json_reply
from memfs.gateway.shared import Shared
from memfs.logs import fields
from memfs.paths import Endpoint
from memfs.types import Identity

log = logging.getLogger(__name__)
audit = logging.getLogger("memfs.audit")

SWEEP_SECONDS = 5.0
SHUTDOWN_SECONDS = 10.0
BACKLOG = 1024
_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


class Gateway:
    """Serves WebHDFS for the cluster of ``client`` until it is stopped."""

    def __init__(
        self,
        config: GatewayConfig,
        client: ClientConfig,
        authenticator: Authenticator | None = None,
    ) -> None:
        """``authenticator``: instead of what ``config`` names. Raises ConfigError."""
        self.shared = Shared(config, client)
        self._config = config
        self._monitoring = Monitoring(self.shared, lambda: self.connections)
        self._tls = _tls_context(config)
        self._authenticator = authenticator or _authenticator(config)
        self._proxies = Proxies(config.proxy_users)
        self._groups = Groups(config.user_groups, config.system_groups)
        self._server: Server | None = None
        self._listening: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------

    async def start(self, *, share_port: bool = False) -> None:
        """Listen; ``endpoint`` then says where. ``share_port``: several processes on one port.

        Raises UnavailableError when there is no cluster, OSError when the port is taken.
        """
        config = self._config
        self._server = Server(
            self._serve, connections=config.connections, head_seconds=config.head_seconds
        )
        await self._warm_up()
        self._listening = await asyncio.get_running_loop().create_server(
            self._server,
            config.host,
            config.port,
            ssl=self._tls,
            backlog=BACKLOG,
            reuse_port=share_port or None,
            family=socket.AF_UNSPEC,
        )
        port: int = self._listening.sockets[0].getsockname()[1]
        self.shared.endpoint = Endpoint(config.host, port)
        self._sweeping = asyncio.create_task(self._sweep(), name="gateway sweep")
        self.shared.peers.start(lambda: self.shared.sessions.cluster, port)
        log.info("gateway is up", extra=fields(address=str(self.endpoint)))

    async def _warm_up(self) -> None:
        """Reach the cluster as the default user: what cannot work is said at the start."""
        identity = await self._identity(Principal(self._config.default_user))
        async with self.shared.sessions.seat(identity):
            pass

    async def stop(self) -> None:
        """Finish what runs, within seconds, and leave."""
        if self._listening is not None:
            self._listening.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(SHUTDOWN_SECONDS)
        await self.shared.close()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return self.shared.endpoint

    @property
    def connections(self) -> int:
        """Open connections."""
        return 0 if self._server is None else self._server.open

    async def _sweep(self) -> None:
        assert self._server is not None, "swept after it was made"
        while True:
            await asyncio.sleep(min(SWEEP_SECONDS, self._config.head_seconds / 2))
            late = self._server.sweep()
            if late:
                log.info("connections ended: no request came", extra=fields(count=late))

    # --- requests ---------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, whatever it is."""
        target, _, query = request.raw_path.partition("?")
        if target.startswith(PREFIX) and target[len(PREFIX) : len(PREFIX) + 1] in ("", "/"):
            return await self._webhdfs(request, target[len(PREFIX) :], query)
        reply = await self._monitoring.answer(request, target)
        if reply is not None:
            return reply
        text = f"{PREFIX}/... is served here, not {target[:200]}"
        return json_reply(request, Refusal(FILE_NOT_FOUND, text).text, 404)

    async def _webhdfs(
        self, request: web.BaseRequest, target: str, query: str
    ) -> web.StreamResponse:
        began = time.perf_counter()
        user, name, path, result = "", "", target, "ok"
        counts = self._monitoring.operation("invalid")
        try:
            parameters = Parameters(query)
            name = _operation_name(request, parameters)
            operation = operations.find(request.method, name)
            counts = self._monitoring.operation(name)
            path = _path(target)
            check_csrf(self._config, request)
            principal = await self._principal(request, parameters)
            user = principal.user
            async with self.shared.sessions.seat(await self._identity(principal)) as seat:
                call = Call(self.shared, request, name, path, parameters, principal, seat)
                return await operation(call)
        except Refusal as refusal:
            result = refusal.kind.name
            return _refused(request, refusal)
        except MemfsError as error:
            said = refusal_of(error, path, user, reading=request.method in _READING)
            result = said.kind.name
            if said.kind is RUNTIME:
                log.error("%s %s failed", name, path, exc_info=error)
            return _refused(request, said)
        except BrokenUpload as error:
            result = type(error).__name__
            reply = _refused(request, Refusal(ILLEGAL_ARGUMENT, str(error)))
            reply.force_close()
            return reply
        except BaseException as error:
            result = type(error).__name__
            raise
        finally:
            seconds = time.perf_counter() - began
            if result == "ok":
                counts.succeeded(seconds)
            else:
                counts.failed(seconds, result)
            if self._config.audit:
                self._audit(request, user, name, path, result)

    def _audit(
        self, request: web.BaseRequest, user: str, name: str, path: str, result: str
    ) -> None:
        audit.info(
            "request",
            extra=fields(
                user=user,
                address=request.remote or "",
                operation=name,
                path=path,
                allowed=result == "ok",
                result=result,
            ),
        )

    async def _principal(self, request: web.BaseRequest, parameters: Parameters) -> Principal:
        if tokens.PARAMETER in parameters:
            async with self.shared.sessions.seat(Identity(self._config.default_user)) as seat:
                return await tokens.principal_of(parameters.text(tokens.PARAMETER), seat.session)
        principal = await self._authenticator.authenticate(request, parameters)
        if "doas" in parameters:
            return self._proxies.impersonate(principal, parameters, request.remote)
        return principal

    async def _identity(self, principal: Principal) -> Identity:
        groups = principal.groups
        if groups is None:
            groups = await self._groups.of(principal.user)
        return Identity(principal.user, groups)


def _operation_name(request: web.BaseRequest, parameters: Parameters) -> str:
    """The operation in capitals. HEAD without one means the file itself."""
    name = parameters.text("op").upper()
    return name or ("OPEN" if request.method == hdrs.METH_HEAD else "")


def _path(target: str) -> str:
    """The path, decoded once."""
    try:
        path = unquote(target, errors="strict") if "%" in target else target
        path.encode("utf-8")
    except UnicodeError:
        raise Refusal(INVALID_PATH, "Invalid path name: it is not valid UTF-8") from None
    return normal(path)


def _refused(request: web.BaseRequest, refusal: Refusal) -> web.StreamResponse:
    if request.writer.output_size > 0:
        if request.transport is not None:
            request.transport.abort()  # half an answer must not be taken for a whole one
        raise ConnectionError(f"an answer was cut off: {refusal.message}")
    if isinstance(refusal, Unauthenticated):
        reply = json_reply(request, refusal.text, refusal.status, reason=refusal.message)
        if refusal.challenge:
            reply.headers[hdrs.WWW_AUTHENTICATE] = refusal.challenge
        return reply
    if request.method == hdrs.METH_HEAD:
        return Reply(b"", refusal.status)
    return json_reply(request, refusal.text, refusal.status)


def _authenticator(config: GatewayConfig) -> Authenticator:
    if config.authentication == "bearer":
        return Bearer.from_file(config.tokens_file)
    return Simple(config.default_user)


def _tls_context(config: GatewayConfig) -> ssl.SSLContext | None:
    """TLS 1.2 and later, since that is what Java 8 has."""
    if not config.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls_certificate: {config.tls_certificate}: {error}") from None
    return context
