"""Every mode of ``open`` against the builtin one: the same calls, the same results and errors."""

from __future__ import annotations

import builtins

import pytest

from .surface import Feature, needs

pytestmark = needs(Feature.OPEN)

CONTENT = b"one\ntwo\nthree\nfour"
STATES = {"missing": None, "empty": b"", "full": CONTENT}
MODES = [kind + plus for kind in "rwxa" for plus in ("", "+")]

BINARY = {
    "read": [("read",), ("read",), ("tell",)],
    "pieces": [("read", 3), ("tell",), ("read", 100), ("read", 0), ("read",)],
    "lines": [("readline",), ("readline", 2), ("readline", -1), ("tell",), ("readlines",)],
    "iterate": [("__iter__",), ("tell",)],
    "readinto": [("readinto", bytearray(5)), ("tell",), ("readinto", bytearray(50))],
    "write": [("write", b"WRITTEN"), ("tell",), ("flush",), ("read",)],
    "writelines": [("writelines", [b"x\n", b"y\n"]), ("tell",)],
    "overwrite": [
        ("seek", 2),
        ("write", b"XY"),
        ("flush",),
        ("tell",),
        ("read", 3),
        ("seek", 0),
        ("read",),
    ],
    "read then write": [("read", 4), ("write", b"!!"), ("tell",), ("seek", 0), ("read",)],
    "write then read": [("write", b"abc"), ("read", 2), ("tell",), ("seek", 0), ("read",)],
    "past the end": [("seek", 30), ("read",), ("write", b"end"), ("seek", 0), ("read",)],
    "seek whence": [("seek", 0, 2), ("tell",), ("seek", -3, 1), ("tell",), ("seek", -5, 2)],
    "seek too far back": [("seek", -1), ("seek", -99, 2), ("tell",)],
    "seek oddly": [("seek", 0, 7)],
    "truncate": [("seek", 2), ("truncate",), ("tell",), ("seek", 0), ("read",)],
    "cut": [("truncate", 5), ("tell",), ("read",)],
    "extend": [("truncate", 25), ("seek", 0), ("read",)],
    "truncate below zero": [("truncate", -1)],
    "append twice": [("write", b"+1"), ("seek", 0), ("write", b"+2"), ("flush",)],
    "abilities": [("readable",), ("writable",), ("seekable",), ("isatty",)],
    "wrong type": [("write", "text")],
    "after close": [("close",), ("close",), ("read",), ("write", b""), ("tell",), ("seek", 0)],
}

TEXT = {
    "read": [("read",), ("read",)],
    "pieces": [("read", 3), ("read", 100), ("read", 0)],
    "lines": [("readline",), ("readline",), ("readlines",)],
    "iterate": [("__iter__",)],
    "write": [("write", "grüße\n☃"), ("flush",), ("read",)],
    "writelines": [("writelines", ["x\n", "y\n"])],
    "rewind": [("read",), ("seek", 0), ("read", 4), ("seek", 0, 2), ("read",), ("write", "end")],
    "tell": [("tell",), ("read",), ("tell",), ("seek", 0), ("tell",)],
    "truncate": [("truncate", 3), ("seek", 0), ("read",)],
    "relative seek": [("seek", 2, 1), ("seek", -2, 2)],
    "abilities": [("readable",), ("writable",), ("seekable",)],
    "wrong type": [("write", b"bytes")],
    "after close": [("close",), ("read",), ("write", "")],
}


def call(file, method, *arguments):
    """What a call gives, in comparable form."""
    try:
        if method == "__iter__":
            return "result", list(file)
        result = getattr(file, method)(*arguments)
    except Exception as error:
        return "error", error
    if method == "readinto":
        return "result", (result, bytes(arguments[0]))
    return "result", result


def agree(ours, theirs):
    """The same result; or an error that whoever catches the builtin's error catches too."""
    if ours[0] == theirs[0] == "error":
        error, expected = ours[1], theirs[1]
        if isinstance(expected, OSError) and expected.errno:
            return getattr(error, "errno", None) == expected.errno
        closed = isinstance(error, ValueError) and isinstance(expected, ValueError)
        return closed or isinstance(error, type(expected))
    return ours == theirs


def prepare(surface, top, tmp_path, content):
    """The same file, or none, on both sides."""
    ours, theirs = f"{top}/file", str(tmp_path / "file")
    if surface.exists(ours):
        surface.remove(ours)
    if content is not None:
        surface.write_bytes(ours, content)
        (tmp_path / "file").write_bytes(content)
    else:
        (tmp_path / "file").unlink(missing_ok=True)
    return ours, theirs


def run_script(open_file, path, mode, script, **options):
    """Open, call, close; what each step gave."""
    try:
        file = open_file(path, mode, **options)
    except Exception as error:
        return [("error", error)]
    found = [call(file, method, *arguments) for method, *arguments in script]
    return [*found, call(file, "close")]


def compare(surface, ours, theirs, mode, script, **options):
    """Run one script on both sides and compare step by step, then what is left in the file."""
    script = [(name, *map(copied, arguments)) for name, *arguments in script]
    found = run_script(surface.open, ours, mode, script, **options)
    expected = run_script(builtins.open, theirs, mode, script, **options)
    assert len(found) == len(expected), (mode, found, expected)
    for step, got, wanted in zip([*script, "close"], found, expected, strict=False):
        assert agree(got, wanted), f"{mode} {step}: {got} but the builtin {wanted}"
    assert surface.exists(ours) == content_of(theirs)[0], mode
    if surface.exists(ours):
        assert surface.read_bytes(ours) == content_of(theirs)[1], mode


def copied(argument):
    return bytearray(argument) if isinstance(argument, bytearray) else argument


def content_of(path):
    try:
        with builtins.open(path, "rb") as file:
            return True, file.read()
    except FileNotFoundError:
        return False, b""


@pytest.mark.parametrize("script", BINARY)
def test_binary(surface, top, tmp_path, script):
    for mode in MODES:
        for content in STATES.values():
            ours, theirs = prepare(surface, top, tmp_path, content)
            compare(surface, ours, theirs, mode + "b", BINARY[script])


@pytest.mark.parametrize("script", ["read", "write", "overwrite", "append twice", "past the end"])
def test_unbuffered(surface, top, tmp_path, script):
    for mode in MODES:
        ours, theirs = prepare(surface, top, tmp_path, CONTENT)
        compare(surface, ours, theirs, mode + "b", BINARY[script], buffering=0)


@pytest.mark.parametrize("script", TEXT)
def test_text(surface, top, tmp_path, script):
    for mode in MODES:
        for content in STATES.values():
            ours, theirs = prepare(surface, top, tmp_path, content)
            compare(surface, ours, theirs, mode, TEXT[script], encoding="utf-8")


LINE_ENDS = b"unix\ndos\r\nmac\rmixed\n\r\r\nend"


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
def test_line_ends(surface, top, tmp_path, newline):
    for script in ([("read",)], [("readlines",)], [("__iter__",)], [("readline",), ("read",)]):
        ours, theirs = prepare(surface, top, tmp_path, LINE_ENDS)
        compare(surface, ours, theirs, "r", script, newline=newline, encoding="utf-8")
    ours, theirs = prepare(surface, top, tmp_path, None)
    script = [("write", "a\nb\r\nc\r"), ("writelines", ["d\n", "e"])]
    compare(surface, ours, theirs, "w", script, newline=newline, encoding="utf-8")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-32-le", "ascii"]
)
@pytest.mark.parametrize("errors", [None, "strict", "replace", "ignore"])
def test_encodings(surface, top, tmp_path, encoding, errors):
    options = {"encoding": encoding, "errors": errors}
    script = [("write", "Grüße, 世界\n"), ("write", "zweite\n")]
    for mode in ("w", "a"):
        ours, theirs = prepare(surface, top, tmp_path, "älter\n".encode(encoding, "ignore"))
        compare(surface, ours, theirs, mode, script, **options)
        for reading in ([("read",)], [("readline",), ("readline",)], [("read", 3), ("read",)]):
            compare(surface, ours, theirs, "r", reading, **options)


def test_bytes_that_are_no_text(surface, top, tmp_path):
    ours, theirs = prepare(surface, top, tmp_path, b"fine\n\xff\xfe not")
    for errors in ("strict", "replace", "ignore", "backslashreplace", "surrogateescape"):
        compare(surface, ours, theirs, "r", [("read",)], encoding="utf-8", errors=errors)


@pytest.mark.parametrize(
    "mode, options",
    [
        ("", {}),
        ("q", {}),
        ("rw", {}),
        ("rr", {}),
        ("r++", {}),
        ("rbt", {}),
        ("+", {}),
        ("rb", {"encoding": "utf-8"}),
        ("rb", {"newline": "\n"}),
        ("rb", {"errors": "strict"}),
        ("r", {"buffering": 0}),
        ("r", {"newline": "x", "encoding": "utf-8"}),
    ],
)
def test_what_open_refuses(surface, top, tmp_path, mode, options):
    ours, theirs = prepare(surface, top, tmp_path, CONTENT)
    compare(surface, ours, theirs, mode, [("read",)], **options)


def test_names_and_modes_are_shown(surface, top):
    with surface.open(f"{top}/file", "w") as file:
        assert file.mode == "w"
        assert not file.closed
    assert file.closed


def test_a_directory_is_no_file(surface, top):
    for mode in ("rb", "wb", "ab", "r+b"):
        with pytest.raises(IsADirectoryError):
            surface.open(top, mode)


def test_a_gap_reads_as_zeros(surface, top):
    size = 3 * surface.block_size
    with surface.open(f"{top}/sparse", "wb") as file:
        file.write(b"begin")
        file.seek(size)
        file.write(b"end")
    assert surface.read_bytes(f"{top}/sparse") == b"begin" + bytes(size - 5) + b"end"
    with surface.open(f"{top}/sparse", "rb") as file:
        file.seek(surface.block_size + 10)
        assert file.read(100) == bytes(100)


def test_one_file_many_positions(surface, top):
    block = surface.block_size
    data = bytes(range(256)) * (5 * block // 256)
    surface.write_bytes(f"{top}/file", data)
    with surface.open(f"{top}/file", "rb") as file:
        for at in (0, 1, block - 1, block, block + 1, 4 * block - 2, 5 * block - 1, 5 * block):
            for size in (0, 1, 2, block, 2 * block + 3):
                file.seek(at)
                assert file.read(size) == data[at : at + size]
                assert file.tell() == min(at + size, len(data))


def test_writes_inside_a_file_change_only_their_range(surface, top):
    block = surface.block_size
    data = bytearray(bytes(range(256)) * (6 * block // 256))
    surface.write_bytes(f"{top}/file", bytes(data))
    with surface.open(f"{top}/file", "r+b") as file:
        for at, piece in (
            (5, b"a"),
            (block - 2, b"bcde"),
            (2 * block, bytes(block)),
            (6 * block - 1, b"yz"),
        ):
            file.seek(at)
            file.write(piece)
            data[at : at + len(piece)] = piece
    assert surface.read_bytes(f"{top}/file") == bytes(data)


def test_a_deleted_file_stays_readable_by_who_has_it_open(surface, top):
    data = bytes(range(256)) * (2 * surface.block_size // 256)
    surface.write_bytes(f"{top}/file", data)
    with surface.open(f"{top}/file", "rb") as file:
        assert file.read(10) == data[:10]
        surface.remove(f"{top}/file")
        assert file.read() == data[10:]
    assert not surface.exists(f"{top}/file")


def test_a_log_is_visible_after_each_flush(surface, top):
    block = surface.block_size
    expected = b""
    with surface.open(f"{top}/log", "ab") as log:
        for number in range(40):
            record = b"%05d " % number + bytes([65 + number % 26]) * (block // 7)
            log.write(record)
            log.flush()
            expected += record
            if number % 8 == 0:
                assert surface.read_bytes(f"{top}/log") == expected
                assert surface.stat(f"{top}/log").size == len(expected)
    assert surface.read_bytes(f"{top}/log") == expected
