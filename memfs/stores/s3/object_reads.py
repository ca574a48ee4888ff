"""Reading a bucket by the library obstore, with the credentials of the mount."""

from __future__ import annotations

from memfs.stores.range_reader import RETRIES, client_options, library
from memfs.stores.s3.credentials import Credentials, RefreshedCredentials
from memfs.stores.s3.signed_requests import Bucket


class BucketConnection:
    """The library's store of a bucket, made anew when the keys change."""

    def __init__(
        self, bucket: Bucket, credentials: RefreshedCredentials, *, trust: str, verify: bool
    ) -> None:
        self._bucket = bucket
        self._credentials = credentials
        self._client = client_options(bucket.endpoint, trust=trust, verify=verify)
        self._known: object = None
        self._keys: Credentials | None = None

    async def current(self) -> object:
        """The library's store. Raises StoreDeniedError when there are no keys."""
        keys = await self._credentials.current()
        if self._known is None or keys != self._keys:
            self._known, self._keys = self._made(keys), keys
        return self._known

    def _made(self, keys: Credentials | None) -> object:
        bucket = self._bucket

        def provide() -> dict[str, object]:
            assert keys is not None
            return {
                "access_key_id": keys.access_key_id,
                "secret_access_key": keys.secret_access_key,
                "token": keys.session_token or None,
                "expires_at": None,
            }

        return library().store.S3Store(
            bucket.name,
            endpoint=bucket.address if bucket.virtual_host else bucket.endpoint,
            region=bucket.region,
            virtual_hosted_style_request=bucket.virtual_host,
            skip_signature=keys is None,
            client_options=self._client,
            retry_config=RETRIES,
            credential_provider=None if keys is None else provide,
        )
