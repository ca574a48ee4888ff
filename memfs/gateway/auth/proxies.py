"""``doas``: who may ask on behalf of others, checked after they have been authenticated."""

from __future__ import annotations

from typing import Final

from memfs.gateway.auth.authentication import RequestUser
from memfs.gateway.hadoop.exceptions import AUTHORIZATION, RemoteException
from memfs.gateway.hadoop.parameters import DELEGATION, USER, Parameters

ANYWHERE: Final = "*"


class Proxies:
    """Who may ask on behalf of others: ``name``, or ``name@address`` from that address only."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._addresses: dict[str, set[str]] = {}
        for each in allowed:
            name, _, address = each.partition("@")
            self._addresses.setdefault(name, set()).add(address or ANYWHERE)

    def principal(
        self, asking: RequestUser, parameters: Parameters, address: str | None
    ) -> RequestUser:
        """The principal that ``doas`` names, if any. Raises RemoteException unless ``asking`` may.

        A token names the user already.
        """
        user = parameters.matching("doas", USER)
        if not user or user == asking.user or DELEGATION in parameters:
            return asking
        allowed = self._addresses.get(asking.user, set())
        if ANYWHERE not in allowed and address not in allowed:
            text = f"User: {asking.user} is not allowed to impersonate {user}"
            raise RemoteException(AUTHORIZATION, text)
        return RequestUser(user, None, asking.user)
