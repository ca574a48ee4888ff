"""On a host that runs a node: a file as an array, without copying a byte (needs numpy)."""

import numpy

import memfs

with memfs.connect() as fs:
    numbers = numpy.arange(4_000_000, dtype=numpy.float32)
    fs.write_bytes("/numbers.f32", numbers)

    view = fs.map("/numbers.f32")  # the node's memory, read-only
    fs.remove("/numbers.f32")  # the view stays valid
    array = numpy.frombuffer(view, dtype=numpy.float32)
    print(array[:5], "mean", array.mean())
