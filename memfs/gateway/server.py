"""One gateway: listening, and the way of a request from bytes to its operation and back.

Owns the lifetime of everything else here. A request is parsed and authenticated, its user's client
is found, its operation is run; every exception on the way becomes an answer in one place.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from urllib.parse import unquote

from aiohttp import hdrs, web

from memfs.audit import Audit, Decision
from memfs.client.calls.deadline import Deadline, until
from memfs.client.connect import open_session
from memfs.config import ClientConfig, GatewayConfig
from memfs.errors import MemfsError
from memfs.gateway.auth import tokens
from memfs.gateway.auth.authentication import NOBODY, RequestUser, Unauthenticated
from memfs.gateway.auth.groups import Groups
from memfs.gateway.auth.methods import authentication
from memfs.gateway.auth.proxies import Proxies
from memfs.gateway.auth.user_sessions import Open
from memfs.gateway.call import WebCall, normal
from memfs.gateway.hadoop.exceptions import (
    ACCESS_CONTROL,
    AUTHORIZATION,
    FILE_NOT_FOUND,
    ILLEGAL_ARGUMENT,
    INVALID_PATH,
    INVALID_TOKEN,
    RUNTIME,
    SECURITY,
    UNAUTHENTICATED,
    RemoteException,
    refusal_of,
)
from memfs.gateway.hadoop.parameters import DELEGATION, Parameters
from memfs.gateway.http.connection import HttpServer
from memfs.gateway.http.csrf import check_csrf
from memfs.gateway.http.expectations import check_expectations
from memfs.gateway.http.inflow import BrokenUpload
from memfs.gateway.http.monitoring_endpoints import METRICS, PROBES, GatewayMonitoring
from memfs.gateway.http.preconditions import check_conditions
from memfs.gateway.http.redirects import PREFIX
from memfs.gateway.http.replies import HttpReply, json_reply, local_address
from memfs.gateway.http.tls import GatewayTls
from memfs.gateway.operations import table as operations
from memfs.gateway.shared import Shared
from memfs.gateway.workers import WorkerLink
from memfs.logs import fields
from memfs.machine import descriptor_limit, raise_descriptor_limit
from memfs.paths import Endpoint
from memfs.types import Identity

log = logging.getLogger(__name__)

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
        workers: WorkerLink | None = None,
        opener: Open = open_session,
    ) -> None:
        """``workers``: the other worker processes; ``opener`` opens sessions. Raises
        ConfigError."""
        self.shared = Shared(config, client, opener)
        self._config = config
        self._audit = Audit(config.audit, time.monotonic, config.audit_rate)
        self._is_worker = workers is not None
        self._monitoring = GatewayMonitoring(self.shared, lambda: self._server, workers)
        self._tls = GatewayTls(config) if config.tls_certificate else None
        self._authentication = authentication(config)
        self._proxies = Proxies(config.proxy_users)
        self._groups = Groups(config.user_groups, config.system_groups)
        self._server: HttpServer | None = None
        self._listening: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, with other workers on one port; ``endpoint`` then says where.

        Raises UnavailableError when there is no cluster, OSError when the port is taken.
        """
        config = self._config
        self._server = HttpServer(
            self.serve, connections=self._most_connections(), head_seconds=config.head_seconds
        )
        await self._warm_up()
        await self._monitoring.start()
        self._listening = await asyncio.get_running_loop().create_server(
            self._server,
            config.host,
            config.port,
            ssl=self._tls.context if self._tls is not None else None,
            backlog=BACKLOG,
            reuse_port=self._is_worker or None,
            family=socket.AF_UNSPEC,
        )
        port: int = self._listening.sockets[0].getsockname()[1]
        self.shared.endpoint = Endpoint(config.host, port)
        self._sweeping = asyncio.create_task(self._sweep(), name="gateway sweep")
        self.shared.peers.start(lambda: self.shared.sessions.cluster, port)
        log.info("gateway is up", extra=fields(address=str(self.endpoint)))

    def _most_connections(self) -> int:
        """The configured number, limited to half of the open files: the rest is for connections to
        the cluster."""
        raise_descriptor_limit()
        allowed = max(1, descriptor_limit() // 2)
        wanted = self._config.connections
        if allowed < wanted:
            log.warning(
                "fewer connections than configured",
                extra=fields(
                    most=allowed,
                    configured=wanted,
                    open_files=descriptor_limit(),
                    advice="raise LimitNOFILE (systemd) or ulimit -n",
                ),
            )
        return min(wanted, allowed)

    async def _warm_up(self) -> None:
        """Connect to the cluster as the default user, so that a wrong setting shows at the
        start."""
        identity = await self._identity(RequestUser(self._config.default_user))
        async with self.shared.sessions.user_session(identity):
            pass

    async def stop(self) -> None:
        """Finish running requests within seconds, then close."""
        if self._listening is not None:
            self._listening.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(SHUTDOWN_SECONDS)
        await self._monitoring.close()
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
        refused = 0
        while True:
            await asyncio.sleep(min(SWEEP_SECONDS, self._config.head_seconds / 2))
            if self._tls is not None:
                self._tls.refresh()
            late = self._server.sweep()
            if late:
                log.info("connections ended: no request came", extra=fields(count=late))
            if self._server.refused > refused:
                refused = self._server.refused
                log.warning(
                    "connections are refused: there are as many as there may be",
                    extra=fields(most=self._server.most, refused=refused),
                )

    # --- requests ---------------------------------------------------------------------------

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        target, _, query = request.raw_path.partition("?")
        if target.startswith(PREFIX) and target[len(PREFIX) : len(PREFIX) + 1] in ("", "/"):
            return await self._webhdfs(request, target[len(PREFIX) :], query)
        try:
            if target not in PROBES:  # a balancer may say anything, and hears nothing that matters
                self._check_host(request)
            if target == METRICS and "simple" not in self._config.authentication:
                await self._authentication.authenticate(request, Parameters(""))
        except RemoteException as refusal:
            return _refused(request, refusal)
        reply = await self._monitoring.answer(request, target)
        if reply is not None:
            return reply
        text = f"{PREFIX}/... is served here, not {target[:200]}"
        return json_reply(request, RemoteException(FILE_NOT_FOUND, text).text, 404)

    async def _webhdfs(
        self, request: web.BaseRequest, target: str, query: str
    ) -> web.StreamResponse:
        began = time.perf_counter()
        deadline = self.shared.deadline()
        who, name, path, result = NOBODY, "", target, "ok"
        counts = self._monitoring.operation("invalid")
        try:
            self._check_host(request)
            check_expectations(request)
            parameters = Parameters(query)
            if request.method == hdrs.METH_OPTIONS:
                name = hdrs.METH_OPTIONS
                return await self._greeted(request, parameters, deadline)
            name = _operation_name(request, parameters)
            operation = operations.find(request.method, name)
            parameters.check_unused()
            counts = self._monitoring.operation(name)
            path = _path(target)
            check_csrf(self._config, request, name)
            who = await self._authenticated(request, parameters, deadline)
            who = self._proxies.principal(who, parameters, request.remote)
            async with until(deadline, "the user's groups were not found within the time given"):
                identity = await self._identity(who)
            async with self.shared.sessions.user_session(identity, deadline) as session:
                call = WebCall(self.shared, request, name, path, parameters, who, session, deadline)
                await check_conditions(call)
                return await operation(call)
        except RemoteException as refusal:
            result = refusal.kind.name
            return _refused(request, refusal)
        except MemfsError as error:
            said = refusal_of(error, path, reading=request.method in _READING)
            result = said.kind.name
            if said.kind is RUNTIME:
                log.error("%s %s failed", name, path, exc_info=error)
            return _refused(request, said)
        except BrokenUpload as error:
            result = type(error).__name__
            reply = _refused(request, RemoteException(ILLEGAL_ARGUMENT, str(error)))
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
            if self._audit.denied:
                self._audit.write(_decision(request, who, name, path, result))

    async def _greeted(
        self, request: web.BaseRequest, parameters: Parameters, deadline: Deadline
    ) -> web.StreamResponse:
        """OPTIONS: Hadoop's client authenticates by it before its first operation."""
        who = await self._authenticated(request, parameters, deadline)
        reply = HttpReply(b"", 200)
        reply.headers[hdrs.ALLOW] = ", ".join(operations.METHODS)
        for header, value in who.headers:
            reply.headers.add(header, value)
        return reply

    def _check_host(self, request: web.BaseRequest) -> None:
        host = request.headers.get(hdrs.HOST, "")
        self.shared.addresses.check(host, local_address(request)[0])

    async def _authenticated(
        self, request: web.BaseRequest, parameters: Parameters, deadline: Deadline
    ) -> RequestUser:
        """The authenticated user of a request."""
        if DELEGATION in parameters:
            verifier = Identity(self._config.default_user)
            async with self.shared.sessions.user_session(verifier, deadline) as session:
                text = parameters.text(DELEGATION)
                return await tokens.principal_of(text, session.fs, deadline)
        return await self._authentication.authenticate(request, parameters)

    async def _identity(self, principal: RequestUser) -> Identity:
        groups = principal.groups
        if groups is None:
            groups = await self._groups.of(principal.user)
        return Identity(principal.user, groups)


_REFUSALS = frozenset(
    kind.name for kind in (ACCESS_CONTROL, AUTHORIZATION, INVALID_TOKEN, SECURITY, UNAUTHENTICATED)
)
"""Results that mean that the caller was denied, for the audit log."""


def _decision(
    request: web.BaseRequest, who: RequestUser, name: str, path: str, result: str
) -> Decision:
    """``real_user`` is the user who asked on behalf of another (``doas``, or a token issued that
    way)."""
    allowed = result not in _REFUSALS
    return Decision(who.user, request.remote or "", name, allowed, result, path, real_user=who.real)


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
        raise RemoteException(INVALID_PATH, "Invalid path name: it is not valid UTF-8") from None
    return normal(path)


def _refused(request: web.BaseRequest, refusal: RemoteException) -> web.StreamResponse:
    if request.writer.output_size > 0:
        if request.transport is not None:
            request.transport.abort()  # half an answer must not be taken for a whole one
        raise ConnectionError(f"an answer was cut off: {refusal.message}")
    if isinstance(refusal, Unauthenticated):
        reply = json_reply(request, refusal.text, refusal.status, reason=refusal.message)
        for challenge in refusal.challenges:
            reply.headers.add(hdrs.WWW_AUTHENTICATE, challenge)
        return reply
    if request.method == hdrs.METH_HEAD:
        return HttpReply(b"", refusal.status)
    reply = json_reply(request, refusal.text, refusal.status)
    if refusal.status == 405:
        reply.headers[hdrs.ALLOW] = ", ".join(operations.METHODS)
    return reply
