"""The blocking form of :class:`memfs.client.access.AccessOperations`.

Made from it by `make blocking`: not to be edited.
"""

from __future__ import annotations

from memfs.client.access import Acl, AclEntries, Quota
from memfs.client.blocking.hand_over import BlockingCalls
from memfs.client.calls.wire import PathLike
from memfs.protocol import messages as m
from memfs.security.delegation_tokens import KIND, Token


class BlockingAccess(BlockingCalls):
    """As :class:`memfs.client.access.AccessOperations`; each call waits."""

    def get_acl(self, path: PathLike, *, timeout: float | None = None) -> Acl:
        """The access control list of a file or directory, symlinks followed."""
        return self._run(self._core.get_acl, path, timeout=timeout)

    def set_acl(self, path: PathLike, entries: AclEntries, *, timeout: float | None = None) -> None:
        """Replace the access list, the default list, or both: those of which entries are given.

        Without any entry the whole list is removed.
        """
        self._run(self._core.set_acl, path, entries, timeout=timeout)

    def modify_acl(
        self, path: PathLike, entries: AclEntries, *, timeout: float | None = None
    ) -> None:
        """Add entries, or replace those about the same; the mask follows unless it is given."""
        self._run(self._core.modify_acl, path, entries, timeout=timeout)

    def remove_acl_entries(
        self, path: PathLike, entries: AclEntries, *, timeout: float | None = None
    ) -> None:
        """Remove entries, written without permissions: ``"user:ann,default:group:dev"``."""
        self._run(self._core.remove_acl_entries, path, entries, timeout=timeout)

    def remove_default_acl(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove what is inherited by new files."""
        self._run(self._core.remove_default_acl, path, timeout=timeout)

    def remove_acl(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove everything but what the mode bits say."""
        self._run(self._core.remove_acl, path, timeout=timeout)

    def get_quota(self, path: PathLike = "/", *, timeout: float | None = None) -> Quota:
        """Quotas of a directory and what counts against them; one request, whatever its size."""
        return self._run(self._core.get_quota, path, timeout=timeout)

    def set_quota(
        self,
        path: PathLike,
        *,
        names: int | None = None,
        space: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Limit what may lie below a directory: names, and bytes times replicas (superuser).

        None leaves a quota as it is, -1 clears it. What is there already stays.
        """
        self._run(self._core.set_quota, path, names=names, space=space, timeout=timeout)

    def get_delegation_token(
        self,
        renewer: str = "",
        *,
        owner: str = "",
        real_user: str = "",
        kind: str = KIND,
        service: str = "",
        timeout: float | None = None,
    ) -> Token:
        """A token that speaks for this client's user; ``renewer`` may prolong it.

        The superuser may get one for another ``owner``, on behalf of whom ``real_user`` asked.
        """
        return self._run(
            self._core.get_delegation_token,
            renewer,
            owner=owner,
            real_user=real_user,
            kind=kind,
            service=service,
            timeout=timeout,
        )

    def renew_delegation_token(self, token: Token | str, *, timeout: float | None = None) -> int:
        """Prolong a token as its renewer; its new end in milliseconds since the epoch."""
        return self._run(self._core.renew_delegation_token, token, timeout=timeout)

    def cancel_delegation_token(self, token: Token | str, *, timeout: float | None = None) -> None:
        """End a token: its owner, its renewer, the superuser."""
        self._run(self._core.cancel_delegation_token, token, timeout=timeout)

    def verify_delegation_token(
        self, token: Token | str, *, timeout: float | None = None
    ) -> m.VerifyTokenReply:
        """For whom a token speaks. Raises InvalidTokenError when it is not good (any more)."""
        return self._run(self._core.verify_delegation_token, token, timeout=timeout)
