"""SETXATTR, GETXATTRS, LISTXATTRS, REMOVEXATTR: extended attributes."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

from aiohttp import web

from memfs import errors
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop import shapes
from memfs.gateway.hadoop.exceptions import IO, RemoteException
from memfs.gateway.hadoop.parameters import illegal
from memfs.gateway.http.replies import HttpReply, json_reply

_NAMESPACES: Final = ("user", "trusted", "security", "system", "raw")
_FLAGS: Final = {"CREATE": os.XATTR_CREATE, "REPLACE": os.XATTR_REPLACE}
_ENCODINGS: Final = frozenset({"TEXT", "HEX", "BASE64"})


def attribute_name(text: str) -> str:
    """The name with its namespace in lower case. RemoteException for one that HDFS refuses."""
    space, dot, name = text.partition(".")
    if not dot or not name or space.lower() not in _NAMESPACES:
        namespaces = "/".join(_NAMESPACES)
        raise illegal(f"An XAttr name must be prefixed with {namespaces}, followed by a '.'")
    return f"{space.lower()}.{name}"


def encoded(value: bytes, encoding: str) -> str:
    """A value as HDFS writes it."""
    if encoding == "HEX":
        return "0x" + value.hex()
    if encoding == "BASE64":
        return "0s" + base64.b64encode(value).decode()
    return f'"{value.decode("utf-8", "replace")}"'


def decoded(text: str) -> bytes:
    """A value as HDFS reads it: ``0x`` and ``0s`` tell the encoding, quotes are optional."""
    try:
        if text[:2] in ("0x", "0X"):
            return bytes.fromhex(text[2:])
        if text[:2] in ("0s", "0S"):
            return base64.b64decode(text[2:], validate=True)
    except (ValueError, binascii.Error):
        raise illegal(f"the value of the attribute cannot be decoded: {text[:64]}") from None
    quoted = len(text) >= 2 and text[0] == text[-1] == '"'
    return (text[1:-1] if quoted else text).encode("utf-8")


async def get_xattrs(call: WebCall) -> web.StreamResponse:
    """GETXATTRS: those named, all when none is."""
    wanted = [attribute_name(each) for each in call.parameters.all("xattr.name")]
    encoding = call.parameters.choice("encoding", _ENCODINGS, call.operation)
    held = await call.fs.getxattrs(call.path, *wanted, timeout=call.deadline)
    found = [{"name": name, "value": encoded(value, encoding)} for name, value in held.items()]
    return json_reply(call.request, {"XAttrs": found})


async def list_xattrs(call: WebCall) -> web.StreamResponse:
    """LISTXATTRS: JSON in a string of JSON."""
    names = await call.fs.listxattr(call.path, timeout=call.deadline)
    return json_reply(call.request, {"XAttrNames": shapes.dumps(names)})


async def set_xattr(call: WebCall) -> web.StreamResponse:
    """SETXATTR."""
    name = attribute_name(call.parameters.required("xattr.name", call.operation))
    value = decoded(call.parameters.text("xattr.value"))
    flags = call.parameters.choices("flag", frozenset(_FLAGS))
    if not flags:
        raise illegal("No flag specified.")
    only = flags if len(flags) == 1 else ()
    try:
        await call.fs.setxattr(
            call.path, name, value, sum(_FLAGS[each] for each in only), timeout=call.deadline
        )
    except errors.PathExistsError:
        text = f"XAttr: {name} already exists. The REPLACE flag must be specified."
        raise RemoteException(IO, text) from None
    except errors.NoAttributeError:
        text = f"XAttr: {name} does not exist. The CREATE flag must be specified."
        raise RemoteException(IO, text) from None
    return HttpReply()


async def remove_xattr(call: WebCall) -> web.StreamResponse:
    """REMOVEXATTR."""
    name = attribute_name(call.parameters.required("xattr.name", call.operation))
    try:
        await call.fs.removexattr(call.path, name, timeout=call.deadline)
    except errors.NoAttributeError:
        raise RemoteException(IO, "No matching attributes found for remove operation") from None
    return HttpReply()


GET = {"GETXATTRS": get_xattrs, "LISTXATTRS": list_xattrs}
PUT = {"SETXATTR": set_xattr, "REMOVEXATTR": remove_xattr}
