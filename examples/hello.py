"""Write a file, read it back. Start a cluster first: ``memfs dev`` (or set ``MEMFS_URL``)."""

import memfs

with memfs.open("memfs:///hello.txt", "w") as f:
    f.write("Hello, world!\n")

with memfs.open("memfs:///hello.txt") as f:
    print(f.read(), end="")
