"""What started this process and wants to know how it is: systemd, or whoever sets NOTIFY_SOCKET.

The protocol is that of ``sd_notify(3)``: datagrams of ``NAME=value`` to a unix socket whose path,
or abstract name behind an ``@``, the environment gives. Nobody there: nothing happens. Invariant:
the processes that this one starts do not speak for it.
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
    """Tell it when this process serves, and when it stops."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Takes the address out of ``environ``."""
        address = environ.pop(VARIABLE, "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """It serves."""
        self._tell(b"READY=1")

    def stopping(self) -> None:
        """It was told to stop, or does so by itself."""
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
