"""TensorFlow's C interface for file systems, as ctypes: structures, function types, status codes.

Source: ``tensorflow/c/experimental/filesystem/filesystem_interface.h``, version 0 of all tables,
the same in TensorFlow 2.12 to 2.21. A table that is shorter than TensorFlow's own is accepted, so
the transaction and configuration entries at its end are left out. Must not know memfs.
"""

from __future__ import annotations

import ctypes
import enum
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)
from typing import Protocol


class Code(enum.IntEnum):
    """Status codes (``tsl/c/tsl_status.h``), which are those of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15


class FileStatistics(Structure):
    """``TF_FileStatistics``."""

    _fields_ = [("length", c_int64), ("mtime_nsec", c_int64), ("is_directory", c_bool)]


# Files and file systems are structures of one pointer, which is ours: the number of an object.
Object = POINTER(c_void_p)
Status = c_void_p


class IntPointer(Protocol):
    """A pointer to an integer: an object by its number, or a count to fill in."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


CLEANUP = CFUNCTYPE(None, Object)
READ = CFUNCTYPE(c_int64, Object, c_uint64, c_size_t, c_void_p, Status)
APPEND = CFUNCTYPE(None, Object, c_void_p, c_size_t, Status)
TELL = CFUNCTYPE(c_int64, Object, Status)
FILE_ACTION = CFUNCTYPE(None, Object, Status)
OPEN = CFUNCTYPE(None, Object, c_char_p, Object, Status)
PATH_ACTION = CFUNCTYPE(None, Object, c_char_p, Status)
DELETE_TREE = CFUNCTYPE(None, Object, c_char_p, POINTER(c_uint64), POINTER(c_uint64), Status)
TWO_PATHS = CFUNCTYPE(None, Object, c_char_p, c_char_p, Status)
STAT = CFUNCTYPE(None, Object, c_char_p, POINTER(FileStatistics), Status)
IS_DIRECTORY = CFUNCTYPE(c_bool, Object, c_char_p, Status)
FILE_SIZE = CFUNCTYPE(c_int64, Object, c_char_p, Status)
TRANSLATE = CFUNCTYPE(c_void_p, Object, c_char_p)
NAMES = CFUNCTYPE(c_int, Object, c_char_p, POINTER(POINTER(c_void_p)), Status)
NOTHING = CFUNCTYPE(None, Object)
ALLOCATE = CFUNCTYPE(c_void_p, c_size_t)
FREE = CFUNCTYPE(None, c_void_p)


class RandomAccessFileOps(Structure):
    """``TF_RandomAccessFileOps``."""

    _fields_ = [("cleanup", CLEANUP), ("read", READ)]


class WritableFileOps(Structure):
    """``TF_WritableFileOps``."""

    _fields_ = [
        ("cleanup", CLEANUP),
        ("append", APPEND),
        ("tell", TELL),
        ("flush", FILE_ACTION),
        ("sync", FILE_ACTION),
        ("close", FILE_ACTION),
    ]


class FilesystemOps(Structure):
    """``TF_FilesystemOps`` up to ``flush_caches``."""

    _fields_ = [
        ("init", FILE_ACTION),
        ("cleanup", CLEANUP),
        ("new_random_access_file", OPEN),
        ("new_writable_file", OPEN),
        ("new_appendable_file", OPEN),
        ("new_read_only_memory_region_from_file", c_void_p),
        ("create_dir", PATH_ACTION),
        ("recursively_create_dir", PATH_ACTION),
        ("delete_file", PATH_ACTION),
        ("delete_dir", PATH_ACTION),
        ("delete_recursively", DELETE_TREE),
        ("rename_file", TWO_PATHS),
        ("copy_file", TWO_PATHS),
        ("path_exists", PATH_ACTION),
        ("paths_exist", c_void_p),
        ("stat", STAT),
        ("is_directory", IS_DIRECTORY),
        ("get_file_size", FILE_SIZE),
        ("translate_name", TRANSLATE),
        ("get_children", NAMES),
        ("get_matching_paths", NAMES),
        ("flush_caches", NOTHING),
    ]


class PluginOps(Structure):
    """``TF_FilesystemPluginOps``."""

    _fields_ = [
        ("scheme", c_void_p),
        ("filesystem_ops_abi", c_int),
        ("filesystem_ops_api", c_int),
        ("filesystem_ops_size", c_size_t),
        ("filesystem_ops", POINTER(FilesystemOps)),
        ("random_access_file_ops_abi", c_int),
        ("random_access_file_ops_api", c_int),
        ("random_access_file_ops_size", c_size_t),
        ("random_access_file_ops", POINTER(RandomAccessFileOps)),
        ("writable_file_ops_abi", c_int),
        ("writable_file_ops_api", c_int),
        ("writable_file_ops_size", c_size_t),
        ("writable_file_ops", POINTER(WritableFileOps)),
        ("read_only_memory_region_ops_abi", c_int),
        ("read_only_memory_region_ops_api", c_int),
        ("read_only_memory_region_ops_size", c_size_t),
        ("read_only_memory_region_ops", c_void_p),
    ]


class PluginInfo(Structure):
    """``TF_FilesystemPluginInfo``."""

    _fields_ = [
        ("num_schemes", c_size_t),
        ("ops", POINTER(PluginOps)),
        ("plugin_memory_allocate", ALLOCATE),
        ("plugin_memory_free", FREE),
    ]


_libc = ctypes.CDLL(None)
_libc.malloc.restype = c_void_p
_libc.malloc.argtypes = [c_size_t]
_libc.free.restype = None
_libc.free.argtypes = [c_void_p]


def allocate(size: int) -> int:
    """Memory that TensorFlow gives back by ``free``; its address."""
    address: int | None = _libc.malloc(size)
    if address is None:
        raise MemoryError(f"no {size} bytes")
    return address


allocate_entry = ctypes.cast(_libc.malloc, ALLOCATE)
free_entry = ctypes.cast(_libc.free, FREE)


def text(value: str) -> int:
    """A C string of our own for TensorFlow to keep; its address."""
    raw = value.encode("utf-8", "surrogateescape") + b"\0"
    address = allocate(len(raw))
    ctypes.memmove(address, raw, len(raw))
    return address


def given(structure: Structure) -> object:
    """A pointer to a copy of a table, which TensorFlow frees once it has registered it."""
    size = ctypes.sizeof(structure)
    address = allocate(size)
    ctypes.memmove(address, ctypes.byref(structure), size)
    return ctypes.cast(address, POINTER(type(structure)))


def texts(values: list[str], entries: object) -> int:
    """Store an array of C strings through ``entries`` (``char***``); how many they are."""
    array = allocate(max(1, len(values)) * ctypes.sizeof(c_void_p))
    slots = ctypes.cast(array, POINTER(c_void_p))
    for index, value in enumerate(values):
        slots[index] = text(value)
    entries[0] = slots  # type: ignore[index]  # ctypes pointers have no types
    return len(values)
