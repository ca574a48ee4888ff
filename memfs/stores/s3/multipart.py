"""Uploads of large objects in parts, invisible until they are complete. Owns the life of an upload:
each one is completed or aborted here, whatever is raised; a node that dies leaves one behind for
:func:`sweep`. The store checks the condition: at completion it compares the present object with the
expected version.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from xml.sax.saxutils import escape

from memfs.concurrency import run_each
from memfs.errors import MemfsError
from memfs.limits import MIB
from memfs.stores.replies import iso_ns
from memfs.stores.s3.replies import error_of, root
from memfs.stores.s3.signed_requests import Requests
from memfs.stores.sending import Sending

PART_BYTES: Final = 8 * MIB
PARTS_MAX: Final = 9_000
"""S3 takes 10,000."""
IN_FLIGHT: Final = 4
"""Parts on their way: 32 MiB of memory for one upload."""
_GIVE_UP_SECONDS: Final = 10.0


def part_bytes(size: int) -> int:
    """The size of the parts of an object, so that their number stays within S3's bound."""
    least = -(-size // PARTS_MAX)
    return max(PART_BYTES, -(-least // MIB) * MIB)


async def upload(
    requests: Requests,
    key: str,
    sending: Sending,
    condition: Mapping[str, str],
    compare: Callable[[], Awaitable[None]],
) -> str:
    """Send an object in parts and complete it; its ETag.

    ``condition``: headers by which the store compares; ``compare`` does it before, where it cannot.
    Raises ObjectChangedError or ObjectMissingError when the store says no.
    """
    begun = await requests.ask("POST", key, [("uploads", "")])
    upload_id = root(begun.body, key).findtext("UploadId", "")
    try:
        etags = await _parts(requests, key, upload_id, sending)
        await compare()
        return await _complete(requests, key, upload_id, etags, condition)
    except BaseException:
        await _give_up(requests, key, upload_id)
        raise


async def sweep(requests: Requests, prefix: str, before_ns: int) -> int:
    """Abort uploads below ``prefix`` that were begun before a time; returns how many."""
    swept, markers = 0, [("key-marker", ""), ("upload-id-marker", "")]
    while True:
        reply = await requests.ask("GET", "", [("uploads", ""), ("prefix", prefix), *markers])
        tree = root(reply.body, prefix)
        for element in tree.findall("Upload"):
            if iso_ns(element.findtext("Initiated", "")) < before_ns:
                await _give_up(
                    requests, element.findtext("Key", ""), element.findtext("UploadId", "")
                )
                swept += 1
        if tree.findtext("IsTruncated", "").lower() != "true":
            return swept
        markers = [
            ("key-marker", tree.findtext("NextKeyMarker", "")),
            ("upload-id-marker", tree.findtext("NextUploadIdMarker", "")),
        ]


async def _parts(requests: Requests, key: str, upload_id: str, sending: Sending) -> list[str]:
    """Send all parts, a few at a time; their ETags in order."""
    etags: list[str] = []

    async def send(piece: bytearray) -> None:
        etags.append("")
        number = len(etags)
        parameters = [("partNumber", str(number)), ("uploadId", upload_id)]
        reply = await requests.ask("PUT", key, parameters, body=piece)
        etags[number - 1] = reply.headers.get("etag", "")

    await run_each(send, sending.pieces(part_bytes(sending.size)), IN_FLIGHT)
    return etags


async def _complete(
    requests: Requests, key: str, upload_id: str, etags: list[str], condition: Mapping[str, str]
) -> str:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
        for number, etag in enumerate(etags, start=1)
    )
    body = (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{parts}</CompleteMultipartUpload>"
    ).encode()

    async def attempt() -> str:
        # Joining takes a server its time, and not each of them bears to be asked meanwhile.
        reply = await requests.ask(
            "POST", key, [("uploadId", upload_id)], headers=condition, body=body, patient=True
        )
        tree = root(reply.body, key)  # an error may come under status 200, late
        if tree.tag == "Error":
            raise error_of(reply.status, reply.headers, reply.body, key)
        return tree.findtext("ETag", "")

    return await requests.retry.run(attempt, key)


async def _give_up(requests: Requests, key: str, upload_id: str) -> None:
    with contextlib.suppress(MemfsError, TimeoutError):
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            await requests.ask(
                "DELETE", key, [("uploadId", upload_id)], accepted=(200, 202, 204, 404)
            )
