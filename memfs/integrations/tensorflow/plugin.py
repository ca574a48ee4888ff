"""Registration with TensorFlow: the table of callbacks, and how TensorFlow gets it.

Owns what must live as long as the process, for TensorFlow keeps pointers to it. With the compiled
shim TensorFlow's public call loads it and gets the table from it; without one the function that
this call ends in, which TensorFlow's library exports, is given the table directly.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

from memfs.integrations import library
from memfs.integrations.tensorflow import interface
from memfs.integrations.tensorflow.operations import Operations
from memfs.integrations.tensorflow.status import StatusWriter
from memfs.paths import SCHEME

try:
    import tensorflow as tf
except ImportError as error:
    raise library.missing("tensorflow", "tensorflow", error) from error

SHIM = Path(__file__).with_name("_shim.so")
_IMPLEMENTATION = (
    "_ZN10tensorflow23filesystem_registration28RegisterFilesystemPluginImpl"
    "EPK23TF_FilesystemPluginInfo"
)
_registering = threading.Lock()
_kept: list[Any] = []
"""The table and everything it points to."""


def register() -> None:
    """Make TensorFlow know ``memfs://``; nothing where it does. Raises RuntimeError."""
    with _registering:
        if _kept or SCHEME in _schemes():
            return
        info = _table()
        if SHIM.exists():
            _register_by_shim(info)
        else:
            _register_directly(info)
        from memfs.integrations.tensorflow import checkpoints  # imports TensorFlow

        checkpoints.read_large_tensors_without_the_lock()


def _schemes() -> list[str]:
    return [os_text(each) for each in tf.io.gfile.get_registered_schemes()]


def os_text(value: str | bytes) -> str:
    """Text of what TensorFlow calls a string."""
    return value.decode() if isinstance(value, bytes) else value


def _register_by_shim(info: interface.PluginInfo) -> None:
    shim = ctypes.CDLL(str(SHIM))
    shim.memfs_set_table(ctypes.byref(info))
    tf.experimental.register_filesystem_plugin(str(SHIM))


def _register_directly(info: interface.PluginInfo) -> None:
    """``Status RegisterFilesystemPluginImpl(const TF_FilesystemPluginInfo*)`` of TensorFlow.

    A status is returned through memory of the caller, by the C++ ABI of Linux.
    """
    for name in ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2"):
        implementation = getattr(_loaded(name), _IMPLEMENTATION, None)
        if implementation is not None:
            break
    else:
        raise RuntimeError(
            "this TensorFlow does not export how file systems are registered: install a C compiler "
            "and then memfs-cluster again"
        )
    status = ctypes.create_string_buffer(64)
    implementation.restype = ctypes.c_void_p
    implementation(status, ctypes.byref(info))
    if SCHEME not in _schemes():
        raise RuntimeError("TensorFlow did not take the file system memfs://")


def _loaded(name: str) -> ctypes.CDLL | None:
    """A library of TensorFlow's."""
    directory = Path(tf.sysconfig.get_lib())
    return ctypes.CDLL(str(directory / name)) if (directory / name).exists() else None


def _table() -> interface.PluginInfo:
    operations = Operations()
    library_of_status = _loaded("libtensorflow_framework.so.2")
    assert library_of_status is not None, "TensorFlow without libtensorflow_framework.so.2"
    status = StatusWriter(library_of_status)

    def action(kind: Any, call: Any, failed: Any = None) -> Any:
        return kind(status.guarded(call, failed))

    reading = interface.RandomAccessFileOps(
        cleanup=interface.CLEANUP(operations.forget),
        read=action(interface.READ, operations.read, -1),
    )
    writing = interface.WritableFileOps(
        cleanup=interface.CLEANUP(operations.forget),
        append=action(interface.APPEND, operations.append),
        tell=action(interface.TELL, operations.tell, -1),
        flush=action(interface.FILE_ACTION, operations.flush),
        sync=action(interface.FILE_ACTION, operations.flush),
        close=action(interface.FILE_ACTION, operations.close),
    )
    names = interface.FilesystemOps(
        init=action(interface.FILE_ACTION, operations.init),
        cleanup=interface.CLEANUP(operations.cleanup),
        new_random_access_file=action(interface.OPEN, operations.new_random_access_file),
        new_writable_file=action(interface.OPEN, operations.new_writable_file),
        new_appendable_file=action(interface.OPEN, operations.new_appendable_file),
        create_dir=action(interface.PATH_ACTION, operations.create_dir),
        recursively_create_dir=action(interface.PATH_ACTION, operations.recursively_create_dir),
        delete_file=action(interface.PATH_ACTION, operations.delete_file),
        delete_dir=action(interface.PATH_ACTION, operations.delete_dir),
        delete_recursively=action(interface.DELETE_TREE, operations.delete_recursively),
        rename_file=action(interface.TWO_PATHS, operations.rename_file),
        copy_file=action(interface.TWO_PATHS, operations.copy_file),
        path_exists=action(interface.PATH_ACTION, operations.path_exists),
        stat=action(interface.STAT, operations.stat),
        is_directory=action(interface.IS_DIRECTORY, operations.is_directory, False),
        get_file_size=action(interface.FILE_SIZE, operations.get_file_size, -1),
        translate_name=interface.TRANSLATE(operations.translate_name),
        get_children=action(interface.NAMES, operations.get_children, -1),
        get_matching_paths=action(interface.NAMES, operations.get_matching_paths, -1),
        flush_caches=interface.NOTHING(operations.flush_caches),
    )
    table = interface.PluginOps(
        scheme=interface.text(SCHEME),
        filesystem_ops_size=ctypes.sizeof(names),
        filesystem_ops=interface.given(names),
        random_access_file_ops_size=ctypes.sizeof(reading),
        random_access_file_ops=interface.given(reading),
        writable_file_ops_size=ctypes.sizeof(writing),
        writable_file_ops=interface.given(writing),
    )
    info = interface.PluginInfo(
        1, interface.given(table), interface.allocate_entry, interface.free_entry
    )
    _kept.extend([operations, reading, writing, names, info])
    return info
