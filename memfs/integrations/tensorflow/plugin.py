"""Registration with TensorFlow: the table of callbacks, and how TensorFlow gets it.

Owns what must live as long as the process, for TensorFlow keeps pointers to it. With the compiled
shim TensorFlow's public call loads it and gets the table from it; without one the function that
this call ends in, which TensorFlow's library exports, is given the table directly.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

from memfs.integrations import library
from memfs.integrations.tensorflow import c_interface
from memfs.integrations.tensorflow.callbacks import Operations
from memfs.integrations.tensorflow.status_codes import StatusWriter
from memfs.paths import SCHEME
from memfs.types import Untyped

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
_kept: list[Untyped] = []
"""The table and everything it points to."""


def register() -> None:
    """Register ``memfs://`` with TensorFlow, once. Raises RuntimeError."""
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


def _register_by_shim(info: c_interface.PluginInfo) -> None:
    shim = ctypes.CDLL(str(SHIM))
    shim.memfs_set_table(ctypes.byref(info))
    tf.experimental.register_filesystem_plugin(str(SHIM))


def _register_directly(info: c_interface.PluginInfo) -> None:
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


def _table() -> c_interface.PluginInfo:
    operations = Operations()
    library_of_status = _loaded("libtensorflow_framework.so.2")
    assert library_of_status is not None, "TensorFlow without libtensorflow_framework.so.2"
    status = StatusWriter(library_of_status)

    def action(kind: Untyped, call: Untyped, failed: Untyped = None) -> Untyped:
        return kind(status.guarded(call, failed))

    reading = c_interface.RandomAccessFileOps(
        cleanup=c_interface.CLEANUP(operations.forget),
        read=action(c_interface.READ, operations.read, -1),
    )
    writing = c_interface.WritableFileOps(
        cleanup=c_interface.CLEANUP(operations.forget),
        append=action(c_interface.APPEND, operations.append),
        tell=action(c_interface.TELL, operations.tell, -1),
        flush=action(c_interface.FILE_ACTION, operations.flush),
        sync=action(c_interface.FILE_ACTION, operations.flush),
        close=action(c_interface.FILE_ACTION, operations.close),
    )
    names = c_interface.FilesystemOps(
        init=action(c_interface.FILE_ACTION, operations.init),
        cleanup=c_interface.CLEANUP(operations.cleanup),
        new_random_access_file=action(c_interface.OPEN, operations.new_random_access_file),
        new_writable_file=action(c_interface.OPEN, operations.new_writable_file),
        new_appendable_file=action(c_interface.OPEN, operations.new_appendable_file),
        create_dir=action(c_interface.PATH_ACTION, operations.create_dir),
        recursively_create_dir=action(c_interface.PATH_ACTION, operations.recursively_create_dir),
        delete_file=action(c_interface.PATH_ACTION, operations.delete_file),
        delete_dir=action(c_interface.PATH_ACTION, operations.delete_dir),
        delete_recursively=action(c_interface.DELETE_TREE, operations.delete_recursively),
        rename_file=action(c_interface.TWO_PATHS, operations.rename_file),
        copy_file=action(c_interface.TWO_PATHS, operations.copy_file),
        path_exists=action(c_interface.PATH_ACTION, operations.path_exists),
        stat=action(c_interface.STAT, operations.stat),
        is_directory=action(c_interface.IS_DIRECTORY, operations.is_directory, False),
        get_file_size=action(c_interface.FILE_SIZE, operations.get_file_size, -1),
        translate_name=c_interface.TRANSLATE(operations.translate_name),
        get_children=action(c_interface.NAMES, operations.get_children, -1),
        get_matching_paths=action(c_interface.NAMES, operations.get_matching_paths, -1),
        flush_caches=c_interface.NOTHING(operations.flush_caches),
    )
    table = c_interface.PluginOps(
        scheme=c_interface.text(SCHEME),
        filesystem_ops_size=ctypes.sizeof(names),
        filesystem_ops=c_interface.given(names),
        random_access_file_ops_size=ctypes.sizeof(reading),
        random_access_file_ops=c_interface.given(reading),
        writable_file_ops_size=ctypes.sizeof(writing),
        writable_file_ops=c_interface.given(writing),
    )
    info = c_interface.PluginInfo(
        1, c_interface.given(table), c_interface.allocate_entry, c_interface.free_entry
    )
    _kept.extend([operations, reading, writing, names, info])
    return info
