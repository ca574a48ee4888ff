"""What only memfs clients offer: batches, locations, capacity, handles by position, trees."""

from __future__ import annotations

import errno
import os

import pytest

from .surface import Feature, needs

pytestmark = needs(Feature.MEMFS)


def test_many_files_at_once(surface, top):
    files = {f"{top}/{number:03}": b"%d" % number * number for number in range(300)}
    assert surface.write_many(files) == [len(data) for data in files.values()]
    assert surface.read_many(files) == list(files.values())
    assert surface.listdir(top) == sorted(path.rpartition("/")[2] for path in files)


def test_a_batch_of_all_sizes(surface, top):
    block = surface.block_size
    sizes = (0, 1, block - 1, block, block + 1, 5 * block, 200_000, 7)
    files = {f"{top}/{size}": os.urandom(size) for size in sizes}
    surface.write_many(files)
    assert surface.read_many(files) == list(files.values())


def test_errors_in_a_batch_stay_apart(surface, top):
    surface.write_bytes(f"{top}/file", b"content")
    paths = [f"{top}/file", f"{top}/missing", top, f"{top}/file"]
    first, missing, directory, last = surface.read_many(paths, return_errors=True)
    assert first == last == b"content"
    assert isinstance(missing, FileNotFoundError)
    assert isinstance(directory, IsADirectoryError)
    with pytest.raises(FileNotFoundError):
        surface.read_many([f"{top}/missing"])
    results = surface.write_many(
        {f"{top}/new": b"1", f"{top}/missing/x": b"2", top: b"3"}, return_errors=True
    )
    assert results[0] == 1
    assert isinstance(results[1], FileNotFoundError)
    assert isinstance(results[2], IsADirectoryError)


def test_many_files_go_at_once(surface, top):
    names = [f"{top}/{number:03}" for number in range(300)]
    surface.write_many(dict.fromkeys(names, b"x"))
    surface.symlink("nowhere", f"{top}/link")
    surface.mkdir(f"{top}/directory")
    wanted = [*names[:200], f"{top}/link", f"{top}/directory", names[0], f"{top}/nul\0"]
    results = surface.remove_many(wanted, return_errors=True)
    assert results[:201] == [None] * 201
    assert isinstance(results[201], IsADirectoryError)
    assert results[201].filename == f"{top}/directory"
    assert isinstance(results[202], FileNotFoundError)
    assert isinstance(results[203], (OSError, ValueError))
    left = [name.rpartition("/")[2] for name in names[200:]]
    assert surface.listdir(top) == [*left, "directory"]
    with pytest.raises(FileNotFoundError):
        surface.remove_many([names[0], names[200]])
    assert surface.remove_many(names[201:]) == [None] * 99
    assert surface.remove_many([]) == []


def test_a_name_that_cannot_be_one_fails_its_own_place(surface, top):
    bad = [f"{top}/{'x' * 256}", f"{top}/nul\0", f"{top}/\udfff"]
    names = [f"{top}/{number}" for number in range(600)]
    mixed = [*names[:200], bad[0], *names[200:400], bad[1], *names[400:], bad[2]]
    written = surface.write_many([(name, b"12") for name in mixed], return_errors=True)
    read = surface.read_many(mixed, return_errors=True)
    for name, length, content in zip(mixed, written, read, strict=True):
        if name in bad:
            assert isinstance(length, OSError) and isinstance(content, OSError)
            with pytest.raises(type(length)):
                surface.read_bytes(name)
        else:
            assert (length, content) == (2, b"12")
    before = surface.listdir(top)
    with pytest.raises((OSError, ValueError)):
        surface.write_many([(f"{top}/late", b""), (bad[0], b"")])
    assert surface.listdir(top) == before, "nothing is done when an argument is wrong"


@pytest.mark.parametrize("sizes", [(1, 200_000, 3), (200_000, 1), (5, 6, 7), (3, 300_000)])
def test_of_several_contents_for_one_path_the_last_wins(surface, top, sizes):
    contents = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    spellings = [f"{top}/f", f"{top}//f", f"{top}/./f"]
    files = [(spellings[n % 3], content) for n, content in enumerate(contents)]
    assert surface.write_many([*files, (f"{top}/g", b"g")]) == [*sizes, 1]
    assert surface.read_bytes(f"{top}/f") == contents[-1]


@pytest.mark.parametrize("sizes", [(200_000, 1), (1, 200_000, 3), (200_000, 300_000), (3, 4)])
@pytest.mark.parametrize("way", ["symlink", "directory", "dots", "hard link"])
def test_the_last_wins_under_names_that_only_the_cluster_knows_for_one(surface, top, sizes, way):
    surface.mkdir(f"{top}/d")
    surface.mkdir(f"{top}/d/e")
    surface.write_bytes(f"{top}/d/f", b"old")
    surface.symlink("d", f"{top}/to_d")
    surface.symlink("d/f", f"{top}/to_f")
    surface.link(f"{top}/d/f", f"{top}/hard")
    if way != "hard link":
        surface.remove(f"{top}/hard")
    other = {"symlink": "to_f", "directory": "to_d/f", "dots": "to_d/e/../f", "hard link": "hard"}
    names = [f"{top}/d/f", f"{top}/{other[way]}"]
    for spelled in (names, names[::-1]):
        contents = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
        files = [(spelled[n % 2], content) for n, content in enumerate(contents)]
        lead = [(f"{top}/{n}", b"lead") for n in range(3)]
        surface.write_many([*lead, *files])
        assert surface.read_bytes(f"{top}/d/f") == contents[-1]


def test_the_last_wins_over_names_in_other_batches(surface, top):
    surface.mkdir(f"{top}/d")
    surface.symlink("d", f"{top}/link")
    first = [(f"{top}/d/{n}", b"first") for n in range(200)]
    last = [(f"{top}/link/{n}", b"last, %d" % n) for n in reversed(range(200))]
    surface.write_many([*first, *last])
    wanted = [b"last, %d" % n for n in range(200)]
    assert surface.read_many([f"{top}/d/{n}" for n in range(200)]) == wanted


def test_a_batch_replaces_and_keeps_the_mode(surface, top):
    surface.write_bytes(f"{top}/file", b"old")
    surface.chmod(f"{top}/file", 0o640)
    surface.setxattr(f"{top}/file", "user.tag", b"kept")
    surface.write_many({f"{top}/file": b"new"})
    assert surface.read_bytes(f"{top}/file") == b"new"
    assert surface.stat(f"{top}/file").mode == 0o640
    assert surface.getxattr(f"{top}/file", "user.tag") == b"kept"


def test_exclusive_creation(surface, top):
    surface.call("write_bytes", f"{top}/file", b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        surface.call("write_bytes", f"{top}/file", b"second", exclusive=True)
    assert surface.read_bytes(f"{top}/file") == b"first"


def test_parents_on_request(surface, top):
    surface.call("write_bytes", f"{top}/a/b/file", b"deep", parents=True)
    assert surface.read_bytes(f"{top}/a/b/file") == b"deep"


def test_blocks_lie_on_two_nodes_and_groups_together(surface, top):
    block = surface.block_size
    surface.write_bytes(f"{top}/file", bytes(10 * block + 1))
    located = surface.block_locations(f"{top}/file")
    assert [each.offset for each in located] == [number * block for number in range(11)]
    assert [each.length for each in located] == [block] * 10 + [1]
    assert all(len(set(each.nodes)) == 2 for each in located)
    for start in (0, 4, 8):
        assert len({frozenset(each.nodes) for each in located[start : start + 4]}) == 1
    assert len(surface.block_locations(f"{top}/file", block, 2 * block)) == 2


def test_capacity_is_told(surface, top):
    before = surface.statvfs()
    surface.write_bytes(f"{top}/file", bytes(300_000))
    after = surface.statvfs()
    assert after.capacity == before.capacity > 0
    assert after.files == before.files + 1


def test_copy_keeps_content_and_mode(surface, top):
    data = os.urandom(9 * surface.block_size + 5)
    surface.write_bytes(f"{top}/file", data)
    surface.chmod(f"{top}/file", 0o600)
    surface.call("copy", f"{top}/file", f"{top}/copy")
    assert surface.read_bytes(f"{top}/copy") == data
    assert surface.stat(f"{top}/copy").mode == 0o600


def test_replication_of_one_file(surface, top):
    surface.call("write_bytes", f"{top}/one", bytes(10_000), replication=1)
    surface.call("write_bytes", f"{top}/three", bytes(10_000), replication=3)
    assert {len(each.nodes) for each in surface.block_locations(f"{top}/one")} == {1}
    assert {len(each.nodes) for each in surface.block_locations(f"{top}/three")} == {3}
    assert surface.stat(f"{top}/three").replication == 3
    assert surface.du(top).space == 40_000


def test_more_replicas_than_nodes_go_to_all(surface, top):
    surface.call("write_bytes", f"{top}/file", b"data" * 5000, replication=5)
    assert surface.read_bytes(f"{top}/file") == b"data" * 5000


@pytest.mark.parametrize(
    "pattern, found", [("*", 4), ("a*", 2), ("**/*.txt", 3), ("?", 1), ("[a-c]", 1)]
)
def test_glob(surface, top, pattern, found):
    surface.call("write_bytes", f"{top}/dd/x.txt", b"", parents=True)
    for name in ("a.txt", "ab.txt", "b"):
        surface.write_bytes(f"{top}/{name}", b"")
    assert len(surface.call("glob", f"{top}/{pattern}")) == found


def test_a_tree_travels_both_ways(surface, top, tmp_path):
    source = tmp_path / "source"
    for number in range(40):
        file = source / f"d{number % 3}" / f"file {number} ü"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(number * 700))
    (source / "d1" / "link").symlink_to("file 1 ü")
    (source / "empty").mkdir()
    surface.call("put", str(source), f"{top}/tree")
    surface.call("get", f"{top}/tree", str(tmp_path / "back"))
    assert content(tmp_path / "back") == content(source)


def content(directory):
    return {
        str(path.relative_to(directory)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in directory.rglob("*")
    }


@needs(Feature.LEASES, Feature.OPEN)
class TestLeases:
    def test_a_file_has_one_writer(self, surface, top):
        other = surface.as_user("root")
        with surface.open(f"{top}/file", "wb") as file:
            file.write(b"mine")
            file.flush()
            for mode in ("wb", "ab", "r+b"):
                with pytest.raises(OSError) as caught:
                    other.open(f"{top}/file", mode)
                assert caught.value.errno == errno.EBUSY
            assert other.read_bytes(f"{top}/file") == b"mine"
        other.append(f"{top}/file", b" and yours")
        assert surface.read_bytes(f"{top}/file") == b"mine and yours"

    def test_a_stolen_lease_ends_the_first_writer(self, surface, top):
        other = surface.as_user("root")
        file = surface.open(f"{top}/file", "wb")
        file.write(b"flushed")
        file.flush()
        other.call("recover_lease", f"{top}/file")
        with other.open(f"{top}/file", "ab") as second:
            second.write(b" by another")
        with pytest.raises(OSError) as caught:
            file.write(b"zombie" * 10_000)
            file.flush()
        assert caught.value.errno == errno.ESTALE
        with pytest.raises(OSError):
            file.close()
        assert surface.read_bytes(f"{top}/file") == b"flushed by another"

    @pytest.mark.parametrize(
        ("mode", "wanted"),
        [("wb", b"new"), ("w+b", b"new"), ("ab", b"flushednew"), ("r+b", b"newshed")],
    )
    def test_who_opens_with_recover_takes_the_file_over(self, surface, top, mode, wanted):
        other = surface.as_user("root")
        file = surface.open(f"{top}/file", "wb")
        file.write(b"flushed")
        file.flush()
        with other.open(f"{top}/file", mode, recover=True) as second:
            second.write(b"new")
        with pytest.raises(OSError) as caught:
            file.write(b"zombie" * 10_000)
            file.flush()
        assert caught.value.errno == errno.ESTALE
        with pytest.raises(OSError):
            file.close()
        assert surface.read_bytes(f"{top}/file") == wanted
        with other.open(f"{top}/new", mode.replace("r", "w"), recover=True) as second:
            second.write(b"new")
        assert surface.read_bytes(f"{top}/new") == b"new"

    def test_readers_see_what_was_flushed_and_no_more(self, surface, top):
        other = surface.as_user("root")
        block = surface.block_size
        with surface.open(f"{top}/file", "wb") as file:
            file.write(b"a" * 3 * block)
            file.flush()
            file.write(b"b" * 100)
            assert other.read_bytes(f"{top}/file") == b"a" * 3 * block
        assert other.read_bytes(f"{top}/file") == b"a" * 3 * block + b"b" * 100

    def test_an_open_reader_sees_each_byte_old_or_new(self, surface, top):
        other = surface.as_user("root")
        old, new = b"old" * 5000, b"new" * 9000
        surface.write_bytes(f"{top}/file", old)
        with other.open(f"{top}/file", "rb") as reader:
            assert reader.read(3) == b"old"
            surface.write_bytes(f"{top}/file", new)
            rest = reader.read()
        assert rest
        assert all(byte in seen for byte, *seen in zip(rest, old[3:], new[3:], strict=False))
        assert other.read_bytes(f"{top}/file") == new
