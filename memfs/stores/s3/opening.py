"""A bucket from a mount's URL and options."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, unquote

from memfs.errors import ConfigError
from memfs.stores.body_receiver import BodyReceiver
from memfs.stores.http_client import HttpClient, tls_context
from memfs.stores.interface import Store
from memfs.stores.key_names import as_prefix, is_key
from memfs.stores.options import Options, split
from memfs.stores.retry import TIMEOUT_SECONDS, Retry
from memfs.stores.s3.credentials import RefreshedCredentials, source_of
from memfs.stores.s3.direct_reads import DirectReads
from memfs.stores.s3.object_reads import BucketConnection
from memfs.stores.s3.signed_requests import Bucket, Requests
from memfs.stores.s3.store import S3Store
from memfs.transport.environment import Environment


def open_s3(parts: SplitResult, options: Options, environment: Environment) -> Store:
    """The store of ``s3://bucket/prefix``. Raises ConfigError."""
    prefix = unquote(parts.path).strip("/")
    if not parts.hostname or not is_key(prefix):
        raise ConfigError("write s3://bucket or s3://bucket/prefix")
    bucket = _bucket(parts.netloc, options)
    trust, verify = options.text("ca_file"), options.flag("verify_tls", True)
    credentials = RefreshedCredentials(source_of(options), environment.clock)
    secure = bucket.endpoint.startswith("https:")
    connection = None
    if secure:
        connection = BucketConnection(bucket, credentials, trust=trust, verify=verify)
    requests = Requests(
        bucket,
        HttpClient(trust=trust, verify=verify),
        credentials,
        Retry(environment.random, options.seconds("timeout", TIMEOUT_SECONDS)),
        environment.clock,
        unsigned_payload=options.flag("unsigned_payload", secure),
    )
    conditional = options.flag("conditional_put", True)
    tls = tls_context(trust, verify) if secure else None
    direct = DirectReads(requests, BodyReceiver(bucket.address, tls))
    where = as_prefix(prefix)
    return S3Store(requests, direct, connection, where, environment.clock, conditional=conditional)


def _bucket(name: str, options: Options) -> Bucket:
    region = options.text("region") or _region()
    endpoint = options.text("endpoint").rstrip("/")
    if endpoint:
        where = split(endpoint)
        if where.scheme not in ("http", "https") or not where.hostname or where.path:
            raise ConfigError("option endpoint: write http://host:port or https://host")
    virtual = options.flag("virtual_host", not endpoint and "." not in name)
    return Bucket(name, endpoint or f"https://s3.{region}.amazonaws.com", region, virtual)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
