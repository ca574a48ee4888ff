"""The supervisor that started this process and wants to know its state: systemd, or another one
that sets NOTIFY_SOCKET.

The protocol is that of ``sd_notify(3)``: datagrams of ``NAME=value`` to a unix socket whose path,
or abstract name behind an ``@``, the environment gives. Without a supervisor nothing happens.
Invariant: child processes do not send notifications.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from memfs.logs import fields

log = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"


class Supervisor:
    """Tells the supervisor when this process is ready and when it stops."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Takes the address out of ``environ``."""
        address = environ.pop(VARIABLE, "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """The process is ready."""
        self._tell(b"READY=1")

    def stopping(self) -> None:
        """The process is stopping."""
        self._tell(b"STOPPING=1")

    def _tell(self, what: bytes) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a full queue must not stop the loop
                sender.sendto(what, self._address)
        except OSError as error:
            log.warning("the supervisor hears nothing", extra=fields(what=what, reason=error))
