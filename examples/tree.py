"""Directories, many small files at once, and what the cluster says of them."""

import memfs

with memfs.connect() as fs:
    fs.makedirs("/tree/inner", exist_ok=True)

    # 1000 small files in a handful of requests; each appears whole or not at all.
    fs.write_many({f"/tree/inner/{n:04}.txt": f"file {n}\n".encode() for n in range(1000)})
    contents = fs.read_many(fs.glob("/tree/**/00*.txt"))
    print(len(contents), "files read back, the first says", contents[0])

    # Totals are kept up to date by the namespace: this costs one request for any tree.
    print(fs.du("/tree"))

    # Paths as in pathlib.
    root = fs.path("/tree")
    (root / "notes.md").write_text("# Notes\n")
    print(sorted(path.name for path in root.iterdir()))

    fs.rename("/tree", "/renamed")  # one atomic step, whatever the size
    fs.rmtree("/renamed")
