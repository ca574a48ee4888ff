"""Names through the gateway: directories, rename, delete, listings, links, attributes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest
from gateway_served import JAVA, PREFIX, Served

from memfs import limits

_numbers = itertools.count()

ODD = [
    "plain",
    "a b",
    "a+b",
    "per%20cent",
    "100%",
    "q?u=e&s;t",
    "#hash",
    "quo'te\"s",
    "back\\slash",
    "<a href=x>",
    "ümläut",
    "日本語",
    "🙂",
    "e\u0301",
    "tab\tnew\nline",
    "[x]{y}|^`",
    "ab@c,d!e$f*(g)~",
    "é" * 127,
    "-rf",
    ".hidden",
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


@pytest.fixture
def top(served: Served) -> str:
    """An empty directory."""
    path = f"/names-{next(_numbers)}"
    served.mkdir(path)
    return path


def names(served: Served, path: str, **more: object) -> list[str]:
    found = served.get(path, "LISTSTATUS", **more).json["FileStatuses"]["FileStatus"]
    return [each["pathSuffix"] for each in found]


def true(served: Served, method: str, path: str, op: str, **more: object) -> bool:
    answer = served.ask(method, path, op, **more)  # type: ignore[arg-type]
    assert answer.status == 200
    value = answer.json["boolean"]
    assert type(value) is bool
    return value


# --- names that break things ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_odd_names_survive_everything(served: Served, top: str, name: str) -> None:
    path = f"{top}/{name}"
    assert served.put(path, "CREATE", b"data").status == 201
    assert served.read(path) == b"data"
    assert names(served, top) == [name]
    assert served.get(path, "GETFILESTATUS").json["FileStatus"]["length"] == 4
    first = served.get(path, "OPEN", headers=JAVA)
    target = first.headers["Location"].removeprefix(served.url)
    assert served.request("GET", target, headers=JAVA).body == b"data"
    assert true(served, "PUT", path, "RENAME", destination=f"{top}/x {name}"[:100])
    assert true(served, "DELETE", f"{top}/x {name}"[:100], "DELETE")
    assert names(served, top) == []


def test_paths_are_normalised_and_dots_refused(served: Served, top: str) -> None:
    assert true(served, "PUT", f"{top}//a//b/", "MKDIRS")
    assert served.exists(f"{top}/a/b")
    for path in (f"{top}/../x", f"{top}/./x", "/.."):
        answer = served.get(path, "GETFILESTATUS")
        assert (answer.status, answer.exception) == (400, "InvalidPathException")


def test_names_that_cannot_be(served: Served, top: str) -> None:
    long = served.put(f"{top}/{'x' * 256}", "MKDIRS")
    assert (long.status, long.exception) == (403, "PathComponentTooLongException")
    deep = served.put(top + "/d" * 2100, "MKDIRS")
    assert (deep.status, deep.exception) == (403, "PathComponentTooLongException")
    for target in ("/webhdfs/v1/a%00b?op=MKDIRS", "/webhdfs/v1/a%FFb?op=MKDIRS"):
        answer = served.request("PUT", target)
        assert (answer.status, answer.exception) == (400, "InvalidPathException")


@pytest.mark.parametrize("target", ["/webhdfs/v1", "/webhdfs/v1/", "/webhdfs/v1//"])
def test_the_root(served: Served, target: str) -> None:
    answer = served.request("GET", f"{target}?op=GetFileStatus")
    assert answer.json["FileStatus"]["type"] == "DIRECTORY"
    assert served.request("GET", "/webhdfs/v11?op=GETFILESTATUS").status == 404


# --- MKDIRS --------------------------------------------------------------------------------------


def test_mkdirs(served: Served, top: str) -> None:
    assert true(served, "PUT", f"{top}/a/b/c", "MKDIRS", permission="700")
    assert true(served, "PUT", f"{top}/a/b/c", "MKDIRS")
    status = served.get(f"{top}/a/b/c", "GETFILESTATUS").json["FileStatus"]
    assert (status["type"], status["permission"]) == ("DIRECTORY", "700")
    assert true(served, "PUT", f"{top}/t/u", "MKDIRS", permission="1044")
    for path, wanted in (("t", "1344"), ("t/u", "1044")):
        status = served.get(f"{top}/{path}", "GETFILESTATUS").json["FileStatus"]
        assert status["permission"] == wanted
    assert served.put(f"{top}/no/e/f", "MKDIRS", user="eve").status == 403
    assert served.get(f"{top}/no", "GETFILESTATUS").status == 404
    served.write(f"{top}/f", b"")
    assert served.put(f"{top}/f", "MKDIRS").exception == "FileAlreadyExistsException"
    assert served.put(f"{top}/f/x", "MKDIRS").exception == "ParentNotDirectoryException"
    assert served.put(f"{top}/e", "MKDIRS", user="eve").exception == "AccessControlException"
    assert true(served, "PUT", "/", "MKDIRS")


# --- RENAME --------------------------------------------------------------------------------------


def test_the_old_rename_answers_false(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"f")
    served.write(f"{top}/g", b"g")
    served.mkdir(f"{top}/d/e")
    for source, target in [
        ("none", "x"),
        ("f", "g"),
        ("f", "no/x"),
        ("f", "g/x"),
        ("d", "d/x"),
        ("d", "d"),
        ("d", "g"),
        ("d", "d/e"),
    ]:
        found = true(served, "PUT", f"{top}/{source}", "RENAME", destination=f"{top}/{target}")
        assert not found, (source, target)
    assert not true(served, "PUT", "/", "RENAME", destination=f"{top}/x")
    assert names(served, top) == ["d", "f", "g"]


def test_the_old_rename_answers_true(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"f")
    served.mkdir(f"{top}/d")
    served.mkdir(f"{top}/e")
    assert true(served, "PUT", f"{top}/f", "RENAME", destination=f"{top}/f")
    assert true(served, "PUT", f"{top}/f", "RENAME", destination=f"{top}/g")
    assert true(served, "PUT", f"{top}/g", "RENAME", destination=f"{top}/d")
    assert served.read(f"{top}/d/g") == b"f"
    assert true(served, "PUT", f"{top}/d", "RENAME", destination=f"{top}/e")
    assert served.read(f"{top}/e/d/g") == b"f"
    served.write(f"{top}/g", b"")
    assert true(served, "PUT", f"{top}/g", "RENAME", destination="/")
    assert served.delete("/g").json == {"boolean": True}
    answer = served.put(f"{top}/e", "RENAME", destination=f"{top}/x", user="eve")
    assert answer.exception == "AccessControlException"


def rename(served: Served, source: str, target: str, options: str = "NONE") -> str:
    """The exception of a rename with options, "": it succeeded, with an empty body."""
    answer = served.put(source, "RENAME", destination=target, renameoptions=options)
    if answer.status == 200:
        assert answer.body == b""
        return ""
    return answer.exception


def test_rename_with_options_says_why(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"f")
    served.write(f"{top}/g", b"g")
    served.mkdir(f"{top}/d/e")
    served.mkdir(f"{top}/empty")
    for source, target, wanted in [
        ("none", "x", "FileNotFoundException"),
        ("f", "no/x", "FileNotFoundException"),
        ("f", "g/x", "ParentNotDirectoryException"),
        ("f", "f", "FileAlreadyExistsException"),
        ("f", "g", "FileAlreadyExistsException"),
        ("d", "empty", "FileAlreadyExistsException"),
        ("d", "d/x", "IOException"),
        ("d", "g", "IOException"),
        ("f", "d", "IOException"),
    ]:
        assert rename(served, f"{top}/{source}", f"{top}/{target}") == wanted, (source, target)
    assert rename(served, "/", f"{top}/x") == "IOException"
    assert rename(served, f"{top}/f", "/") == "IOException"
    assert rename(served, f"{top}/f", f"{top}/h") == ""
    assert rename(served, f"{top}/h", f"{top}/i", "TO_TRASH") == ""
    assert names(served, top) == ["d", "empty", "g", "i"]


def test_rename_that_overwrites(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"f")
    served.write(f"{top}/g", b"g")
    served.mkdir(f"{top}/d/e")
    served.mkdir(f"{top}/empty")
    assert rename(served, f"{top}/f", f"{top}/g", "OVERWRITE") == ""
    assert served.read(f"{top}/g") == b"f"
    assert rename(served, f"{top}/empty", f"{top}/d", "OVERWRITE") == "IOException"
    assert rename(served, f"{top}/g", f"{top}/d", "OVERWRITE") == "IOException"
    assert rename(served, f"{top}/d", f"{top}/empty", "overwrite") == ""
    assert names(served, f"{top}/empty") == ["e"]


def test_rename_needs_a_destination(served: Served, top: str) -> None:
    answer = served.put(top, "RENAME")
    assert answer.message == "Required param destination for op: RENAME is null or empty"
    assert served.put(top, "RENAME", destination="relative").status == 400
    assert served.put(top, "RENAME", destination="/x", renameoptions="maybe").status == 400


# --- DELETE --------------------------------------------------------------------------------------


def test_delete(served: Served, top: str) -> None:
    served.mkdir(f"{top}/d")
    served.write(f"{top}/d/f", b"")
    answer = served.delete(f"{top}/d")
    assert (answer.status, answer.exception) == (403, "PathIsNotEmptyDirectoryException")
    assert answer.message.endswith("is non empty")
    assert served.delete(f"{top}/d", user="eve", recursive=True).status == 403
    assert true(served, "DELETE", f"{top}/d", "DELETE", recursive="True")
    assert not true(served, "DELETE", f"{top}/d", "DELETE", recursive="true")
    assert not true(served, "DELETE", f"{top}/d/deeper", "DELETE")
    assert not true(served, "DELETE", "/", "DELETE", recursive="true")
    assert served.delete("/").exception == "PathIsNotEmptyDirectoryException"


@pytest.mark.parametrize("name", ["a:b", ":", "a:b/c"])
def test_names_that_hadoop_cannot_read_are_not_made(served: Served, top: str, name: str) -> None:
    served.write(f"{top}/f", b"")
    for answer in (
        served.put(f"{top}/{name}", "CREATE", b"x"),
        served.put(f"{top}/{name}", "MKDIRS"),
        served.put(f"{top}/f", "RENAME", destination=f"{top}/{name}"),
        served.put(f"{top}/{name}", "CREATESYMLINK", destination=f"{top}/f"),
    ):
        assert (answer.status, answer.exception) == (400, "InvalidPathException")


def test_names_that_hadoop_cannot_read_are_hidden_from_it(served: Served, top: str) -> None:
    for number in range(1100):
        served.mkdir(f"{top}/a:{number:04}")
    served.write(f"{top}/b", b"x")

    def names(op: str, headers: dict[str, str]) -> tuple[list[str], str | None]:
        answer = served.get(top, op, headers=headers)
        found = answer.json.get("FileStatuses")
        if found is None:
            found = answer.json["DirectoryListing"]["partialListing"]["FileStatuses"]
        shown = [each["pathSuffix"] for each in found["FileStatus"]]
        return shown, answer.headers["X-Memfs-Hidden"]

    shown, hidden = names("LISTSTATUS", JAVA)
    assert shown == ["b"] and 0 < int(hidden or 0) < 1100  # of the first page: the rest follows it
    assert names("LISTSTATUS_BATCH", JAVA) == (["b"], "1100")
    shown, hidden = names("LISTSTATUS", {})
    assert (len(shown), hidden) == (1101, None)
    metrics = served.request("GET", "/metrics").body
    assert b"memfs_gateway_hidden_names_total 2200.0" in metrics
    assert served.get(f"{top}/a:0001", "GETFILESTATUS").status == 200
    assert served.delete(f"{top}/a:0001").json == {"boolean": True}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_listing_needs_search_permission(served: Served, top: str, kind: str) -> None:
    served.mkdir(f"{top}/d", 0o744)
    if kind == "file":
        served.write(f"{top}/d/f", b"x")
    else:
        served.run(served.fs.symlink("f", f"{top}/d/l"))
    for op in ("LISTSTATUS", "LISTSTATUS_BATCH"):
        answer = served.get(f"{top}/d", op, user="eve")
        assert (answer.status, answer.exception) == (403, "AccessControlException")


def test_encodings_that_are_none(served: Served, top: str) -> None:
    for encoding in ("null", "", "text,hex", "rot13"):
        answer = served.get(top, "GETXATTRS", encoding=encoding)
        assert (answer.status, answer.exception) == (400, "IllegalArgumentException")


# --- listings ------------------------------------------------------------------------------------


def test_list_of_a_file_and_of_nothing(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"abc")
    (entry,) = served.get(f"{top}/f", "LISTSTATUS").json["FileStatuses"]["FileStatus"]
    assert (entry["pathSuffix"], entry["length"]) == ("", 3)
    answer = served.get(f"{top}/no", "LISTSTATUS")
    assert (answer.status, answer.message) == (404, f"File {top}/no does not exist.")
    assert served.get(f"{top}/f/x", "LISTSTATUS").exception == "FileNotFoundException"


def test_large_directories_in_one_and_in_pieces(served: Served, top: str) -> None:
    wanted = [f"file-{number:05}" for number in range(2500)]
    served.run(served.fs.write_many({f"{top}/{name}": b"" for name in wanted}))
    answer = served.get(top, "LISTSTATUS")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    found = [each["pathSuffix"] for each in answer.json["FileStatuses"]["FileStatus"]]
    assert found == wanted
    seen, after, remaining = [], "", 1
    while remaining:
        batch = served.get(top, "LISTSTATUS_BATCH", startAfter=after).json["DirectoryListing"]
        page = batch["partialListing"]["FileStatuses"]["FileStatus"]
        seen += [each["pathSuffix"] for each in page]
        assert batch["remainingEntries"] == len(wanted) - len(seen)
        after, remaining = seen[-1], batch["remainingEntries"]
    assert seen == wanted


def test_a_directory_has_a_time_of_access(served: Served, top: str) -> None:
    made = served.get(top, "GETFILESTATUS").json["FileStatus"]
    assert made["accessTime"] >= made["modificationTime"] - 1000 > 0
    (listed,) = (
        each
        for each in served.get("/", "LISTSTATUS").json["FileStatuses"]["FileStatus"]
        if f"/{each['pathSuffix']}" == top
    )
    assert listed["accessTime"] == made["accessTime"]
    assert served.put(top, "SETTIMES", accesstime=5).status == 200
    assert served.get(top, "GETFILESTATUS").json["FileStatus"]["accessTime"] == 5


def test_batches_of_what_is_no_directory(served: Served, top: str) -> None:
    empty = served.get(top, "LISTSTATUS_BATCH").json["DirectoryListing"]
    assert empty["remainingEntries"] == 0
    assert served.get(f"{top}/no", "LISTSTATUS_BATCH").status == 404
    served.write(f"{top}/f", b"abc")
    for after in ({}, {"startAfter": "a"}, {"startAfter": "z"}):  # HDFS looks for no name in a file
        found = served.get(f"{top}/f", "LISTSTATUS_BATCH", user="eve", **after)
        (status,) = found.json["DirectoryListing"]["partialListing"]["FileStatuses"]["FileStatus"]
        assert (status["pathSuffix"], status["length"]) == ("", 3)
    assert served.get(f"{top}/f/x", "LISTSTATUS_BATCH", startAfter="a").status in (403, 404)


# --- links ---------------------------------------------------------------------------------------


def test_symlinks(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"abc")
    link = f"{top}/l"
    answer = served.put(link, "CREATESYMLINK", destination=f"{top}/f")
    assert (answer.status, answer.body) == (200, b"")
    assert served.get(link, "GETFILESTATUS").json["FileStatus"]["type"] == "FILE"
    status = served.get(link, "GETFILELINKSTATUS").json["FileStatus"]
    assert (status["type"], status["symlink"]) == ("SYMLINK", f"{top}/f")
    assert served.get(link, "GETLINKTARGET").json == {"Path": f"{top}/f"}
    listed = served.get(top, "LISTSTATUS").json["FileStatuses"]["FileStatus"]
    assert [each.get("symlink") for each in listed] == [None, f"{top}/f"]
    assert served.get(link, "OPEN").body == b"abc"
    again = served.put(link, "CREATESYMLINK", destination="/x")
    assert again.exception == "FileAlreadyExistsException"
    assert served.get(f"{top}/f", "GETLINKTARGET").status == 400
    assert served.get(f"{top}/f", "GETFILELINKSTATUS").json["FileStatus"]["type"] == "FILE"
    deep = f"{top}/no/l"
    assert served.put(deep, "CREATESYMLINK", destination="/x").status == 404
    assert served.put(deep, "CREATESYMLINK", destination="/x", createParent=True).status == 200


# --- attributes ----------------------------------------------------------------------------------


def test_attributes(served: Served, top: str) -> None:
    path = f"{top}/f"
    served.write(path, b"x")
    for op, parameters in [
        ("SETPERMISSION", {"permission": "1751"}),
        ("SETOWNER", {"owner": "bob", "group": "staff"}),
        ("SETTIMES", {"modificationtime": 1234567890123, "accesstime": 5}),
        ("SETTIMES", {"modificationtime": -1, "accesstime": 99}),
    ]:
        answer = served.put(path, op, **parameters)  # type: ignore[arg-type]
        assert (answer.status, answer.body) == (200, b""), op
    status = served.get(path, "GETFILESTATUS").json["FileStatus"]
    assert (status["permission"], status["owner"], status["group"]) == ("1751", "bob", "staff")
    assert (status["modificationTime"], status["accessTime"]) == (1234567890123, 99)
    assert served.put(path, "SETPERMISSION").status == 200
    assert served.get(path, "GETFILESTATUS").json["FileStatus"]["permission"] == "755"


def test_times_out_of_range_become_the_nearest(served: Served, top: str) -> None:
    """HDFS takes any positive time: ``distcp -pt`` copies what a file system has."""
    year_9999 = 253_402_300_799_000
    for times in ({"modificationtime": year_9999}, {"accesstime": (1 << 63) - 1}):
        assert served.put(top, "SETTIMES", **times).status == 200
    status = served.get(top, "GETFILESTATUS").json["FileStatus"]
    latest = limits.TIME_NS_MAX // 1_000_000
    assert (status["modificationTime"], status["accessTime"]) == (latest, latest)


def test_times_are_set_by_who_may_write_the_file(served: Served, top: str) -> None:
    """As in HDFS; natively they are the owner's, as POSIX has it."""
    served.write(f"{top}/f", b"x")
    served.run(served.fs.chmod(f"{top}/f", 0o646))
    assert served.put(f"{top}/f", "SETTIMES", user="eve", modificationtime=7000).status == 200
    assert served.get(f"{top}/f", "GETFILESTATUS").json["FileStatus"]["modificationTime"] == 7000
    served.run(served.fs.chmod(f"{top}/f", 0o644))
    refused = served.put(f"{top}/f", "SETTIMES", user="eve", modificationtime=8000)
    assert refused.exception == "AccessControlException"
    assert f'access=WRITE, inode="{top}/f":' in refused.message


def test_names_of_attributes_are_listed_to_who_may_search(served: Served, top: str) -> None:
    """As in HDFS; their values are for readers."""
    served.write(f"{top}/f", b"x")
    served.run(served.fs.setxattr(f"{top}/f", "user.a", b"1"))
    served.run(served.fs.chmod(f"{top}/f", 0o600))
    names = served.get(f"{top}/f", "LISTXATTRS", user="eve").json["XAttrNames"]
    assert json.loads(names) == ["user.a"]
    values = served.get(f"{top}/f", "GETXATTRS", user="eve", encoding="TEXT")
    assert values.exception == "AccessControlException"
    served.run(served.fs.chmod(top, 0o700))
    assert served.get(f"{top}/f", "LISTXATTRS", user="eve").status == 403


def test_attributes_that_cannot_be_set(served: Served, top: str) -> None:
    assert served.put(top, "SETOWNER").status == 400
    assert served.put(top, "SETPERMISSION", permission="9").status == 400
    assert served.put(top, "SETTIMES", modificationtime=-2).status == 400
    assert served.put(top, "SETTIMES", modificationtime=1 << 63).status == 400
    for op in ("SETOWNER", "SETPERMISSION", "SETTIMES"):
        missing = served.put(f"{top}/no", op, owner="a", modificationtime=1)
        assert missing.exception == "FileNotFoundException", op
    assert served.put(top, "SETPERMISSION", user="eve").exception == "AccessControlException"


def test_replication(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"x")
    assert true(served, "PUT", f"{top}/f", "SETREPLICATION", replication=1)
    status = served.get(f"{top}/f", "GETFILESTATUS").json["FileStatus"]
    assert status["replication"] == 1
    assert not true(served, "PUT", top, "SETREPLICATION", replication=1)
    assert not true(served, "PUT", f"{top}/no", "SETREPLICATION", replication=1)
    assert served.put(f"{top}/f", "SETREPLICATION", replication=99).status == 400
    assert served.put(f"{top}/f", "SETREPLICATION", replication=0).status == 400


def test_access(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"x")
    assert served.get(f"{top}/f", "CHECKACCESS", fsaction="r--", user="eve").status == 200
    refused = served.get(f"{top}/f", "CHECKACCESS", fsaction="-w-", user="eve")
    assert (refused.status, refused.exception) == (403, "AccessControlException")
    assert served.get(f"{top}/no", "CHECKACCESS", fsaction="r--").status == 404
    assert served.get(f"{top}/f", "CHECKACCESS", fsaction="rw").status == 400
    assert served.get(f"{top}/f", "CHECKACCESS").status == 400


def test_extended_attributes(served: Served, top: str) -> None:
    def set_it(flag: str, value: str = "0x0102", name: str = "user.a") -> str:
        more = {"xattr.name": name, "xattr.value": value, "flag": flag}
        return served.put(top, "SETXATTR", **more).exception

    def get(encoding: str, *wanted: str) -> dict[str, str]:
        query = "".join(f"&xattr.name={each}" for each in wanted)
        target = f"/webhdfs/v1{top}?op=GETXATTRS&encoding={encoding}{query}"
        found = served.request("GET", target).json["XAttrs"]
        return {each["name"]: each["value"] for each in found}

    assert set_it("REPLACE") == "IOException"
    assert set_it("CREATE") == ""
    assert set_it("CREATE") == "IOException"
    assert set_it("CREATE,REPLACE", '"te\\xt"', "USER.b") == ""
    assert set_it("") == "HadoopIllegalArgumentException"
    assert set_it("CREATE", "0xzz") == "HadoopIllegalArgumentException"
    assert set_it("CREATE", "v", "other.a") == "HadoopIllegalArgumentException"
    assert get("hex", "user.a") == {"user.a": "0x0102"}
    assert get("BASE64", "user.a", "user.b") == {"user.a": "0sAQI=", "user.b": "0sdGVceHQ="}
    assert get("text")["user.b"] == '"te\\xt"'
    names_found = served.get(top, "LISTXATTRS").json["XAttrNames"]
    assert json.loads(names_found) == ["user.a", "user.b"]
    missing = served.get(top, "GETXATTRS", **{"xattr.name": "user.z", "encoding": "TEXT"})
    assert (missing.status, missing.exception) == (403, "XAttrNotFoundException")
    assert served.get(top, "GETXATTRS").status == 400
    assert served.put(top, "REMOVEXATTR", **{"xattr.name": "user.a"}).status == 200
    gone = served.put(top, "REMOVEXATTR", **{"xattr.name": "user.a"})
    assert gone.exception == "IOException"


# --- totals and defaults -------------------------------------------------------------------------


def test_totals(served: Served, top: str) -> None:
    served.mkdir(f"{top}/d")
    served.write(f"{top}/d/f", bytes(1000))
    summary = served.get(top, "GETCONTENTSUMMARY").json["ContentSummary"]
    assert (summary["length"], summary["fileCount"], summary["directoryCount"]) == (1000, 1, 2)
    assert (summary["spaceConsumed"], summary["quota"], summary["spaceQuota"]) == (2000, -1, -1)
    usage = served.get(top, "GETQUOTAUSAGE").json["QuotaUsage"]
    assert (usage["fileAndDirectoryCount"], usage["spaceConsumed"]) == (3, 2000)
    assert served.get(f"{top}/no", "GETCONTENTSUMMARY").status == 404


def test_a_tree_too_large_for_one_step_is_counted_and_deleted(
    served: Served, top: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directories of several owners, more than the primary looks at for one request."""
    for owner in ("ann", "bob"):
        for number in range(6):
            path = f"{top}/{owner}/{number}"
            served.mkdir(path)
            served.write(f"{path}/f", bytes(100))
            served.run(served.fs.chown(path, owner))
            served.run(served.fs.chmod(path, 0o777))
        served.run(served.fs.chmod(f"{top}/{owner}", 0o777))
    served.run(served.fs.chmod(top, 0o777))
    served.run(served.fs.chmod(f"{top}/bob/3", 0o772))
    monkeypatch.setattr(limits, "SUBTREE_STEPS", 60)
    for answer in (
        served.get(top, "GETCONTENTSUMMARY", user="eve"),
        served.get(top, "GETQUOTAUSAGE", user="eve"),
        served.delete(f"{top}/bob", user="eve", recursive=True),
    ):
        assert (answer.status, answer.exception) == (403, "AccessControlException")
        assert f"{top}/bob/3" in answer.message
    served.run(served.fs.chmod(f"{top}/bob/3", 0o777))
    summary = served.get(top, "GETCONTENTSUMMARY", user="eve").json["ContentSummary"]
    assert (summary["length"], summary["fileCount"], summary["directoryCount"]) == (1200, 12, 15)
    usage = served.get(top, "GETQUOTAUSAGE", user="eve").json["QuotaUsage"]
    assert (usage["fileAndDirectoryCount"], usage["spaceConsumed"]) == (27, 2400)
    assert served.delete(f"{top}/bob", user="eve", recursive=True).json == {"boolean": True}
    assert names(served, top) == ["ann"]


def test_homes_and_trash(served: Served, top: str) -> None:
    assert served.get("/", "GETHOMEDIRECTORY", user="bob").json == {"Path": "/user/bob"}
    assert served.get(top, "GETTRASHROOT", user="bob").json == {"Path": "/user/bob/.Trash"}
    for user in ("bob", "eve"):
        served.mkdir(f"/user/{user}/.Trash")
    (root,) = served.get("/", "GETTRASHROOTS", user="bob").json["Paths"]
    assert (root["path"], root["isdir"]) == ("/user/bob/.Trash", True)
    both = served.get("/", "GETTRASHROOTS", allusers="true").json["Paths"]
    assert [each["path"] for each in both] == ["/user/bob/.Trash", "/user/eve/.Trash"]


def test_the_file_system(served: Served, top: str) -> None:
    status = served.get("/", "GETSTATUS").json["FsStatus"]
    assert status["capacity"] == status["used"] + status["remaining"] > 0
    defaults = served.get("/", "GETSERVERDEFAULTS").json["FsServerDefaults"]
    assert defaults["encryptDataTransfer"] is False
    assert (defaults["blockSize"], defaults["replication"]) == (16384, 2)


def test_storage_policies(served: Served, top: str) -> None:
    policies = served.get("/", "GETALLSTORAGEPOLICY").json["BlockStoragePolicies"]
    (policy,) = policies["BlockStoragePolicy"]
    assert served.get(top, "GETSTORAGEPOLICY").json == {"BlockStoragePolicy": policy}
    assert served.put(top, "SETSTORAGEPOLICY", storagepolicy=policy["name"]).status == 200
    assert served.put(top, "SETSTORAGEPOLICY", storagepolicy="COLD").status == 400
    assert served.put(top, "SATISFYSTORAGEPOLICY").status == 200
    assert served.post(top, "UNSETSTORAGEPOLICY").status == 200
    assert served.get(f"{top}/no", "GETSTORAGEPOLICY").status == 404


# --- access control lists ------------------------------------------------------------------------


def acl(served: Served, path: str) -> dict[str, object]:
    found = served.get(path, "GETACLSTATUS").json["AclStatus"]
    assert type(found["stickyBit"]) is bool
    return dict(found)


def test_access_control_lists(served: Served, top: str) -> None:
    path = f"{top}/f"
    assert served.put(path, "CREATE", b"x", permission="640").status == 201
    assert acl(served, path)["entries"] == []
    assert served.get(path, "OPEN", user="bob").status == 403
    answer = served.put(path, "MODIFYACLENTRIES", aclspec="user:bob:rw-,group:ops:r--")
    assert (answer.status, answer.body) == (200, b"")
    assert acl(served, path) == {
        "entries": ["user:bob:rw-", "group::r--", "group:ops:r--"],
        "group": "root",
        "owner": "root",
        "permission": "660",
        "stickyBit": False,
    }
    assert served.get(path, "GETFILESTATUS").json["FileStatus"]["aclBit"] is True
    assert served.get(path, "OPEN", user="bob").body == b"x"
    assert served.post(path, "APPEND", b"y", user="bob").status == 200
    assert served.put(path, "REMOVEACLENTRIES", aclspec="user:bob:").status == 200
    assert served.get(path, "OPEN", user="bob").status == 403
    assert served.put(path, "REMOVEACL").status == 200
    assert acl(served, path)["entries"] == []
    assert "aclBit" not in served.get(path, "GETFILESTATUS").json["FileStatus"]


def test_default_lists_are_inherited(served: Served, top: str) -> None:
    spec = "user::rwx,group::r-x,other::---,default:user:bob:r-x"
    assert served.put(top, "SETACL", aclspec=spec).status == 200
    assert "default:user:bob:r-x" in acl(served, top)["entries"]  # type: ignore[operator]
    assert served.put(f"{top}/d", "MKDIRS", permission="755", unmaskedpermission="777").json
    assert "user:bob:r-x" in acl(served, f"{top}/d")["entries"]  # type: ignore[operator]
    created = served.put(f"{top}/f", "CREATE", b"x", permission="644", unmaskedpermission="666")
    assert created.status == 201
    assert acl(served, f"{top}/f")["entries"] == ["user:bob:r-x", "group::r-x"]
    assert acl(served, f"{top}/f")["permission"] == "640"
    assert served.put(top, "REMOVEDEFAULTACL").status == 200
    assert acl(served, top)["entries"] == []


def test_lists_that_cannot_be(served: Served, top: str) -> None:
    for spec in ("nonsense", "user:bob:rwz", "user:bob"):
        refused = served.put(top, "MODIFYACLENTRIES", aclspec=spec)
        assert (refused.status, refused.exception) == (400, "IllegalArgumentException")
    for op, spec in [("SETACL", "user:bob:rwx"), ("MODIFYACLENTRIES", "user:bob:")]:
        refused = served.put(top, op, aclspec=spec)
        assert (refused.status, refused.exception) == (403, "AclException")
    assert served.put(top, "SETACL").status == 400
    spec = "user:bob:rwx"
    assert served.put(top, "MODIFYACLENTRIES", aclspec=spec, user="eve").status == 403
    assert served.put(f"{top}/no", "MODIFYACLENTRIES", aclspec=spec).status == 404
    assert served.get(f"{top}/no", "GETACLSTATUS").status == 404


# --- quotas --------------------------------------------------------------------------------------


def test_quotas(served: Served, top: str) -> None:
    served.mkdir(f"{top}/d")
    answer = served.put(f"{top}/d", "SETQUOTA", namespacequota=3, storagespacequota=30_000)
    assert (answer.status, answer.body) == (200, b"")
    for op, key in (("GETCONTENTSUMMARY", "ContentSummary"), ("GETQUOTAUSAGE", "QuotaUsage")):
        found = served.get(f"{top}/d", op).json[key]
        assert (found["quota"], found["spaceQuota"], found["typeQuota"]) == (3, 30_000, {})
    refused = served.put(f"{top}/d/big", "CREATE", bytes(20_000))
    assert (refused.status, refused.exception) == (403, "DSQuotaExceededException")
    assert not served.exists(f"{top}/d/big")
    assert served.put(f"{top}/d/a", "CREATE", b"x").status == 201
    assert served.put(f"{top}/d/b", "CREATE", b"x").status == 201
    refused = served.put(f"{top}/d/c", "MKDIRS")
    assert (refused.status, refused.exception) == (403, "NSQuotaExceededException")
    leave = (1 << 63) - 1
    cleared = served.put(f"{top}/d", "SETQUOTA", namespacequota=-1, storagespacequota=leave)
    assert cleared.status == 200
    assert served.put(f"{top}/d/c", "MKDIRS").status == 200
    usage = served.get(f"{top}/d", "GETQUOTAUSAGE").json["QuotaUsage"]
    assert (usage["quota"], usage["spaceQuota"]) == (-1, 30_000)


def test_quotas_are_said_before_a_body_is_sent(served: Served, top: str) -> None:
    served.mkdir(f"{top}/d")
    served.put(f"{top}/d", "SETQUOTA", namespacequota=2, storagespacequota=20_000)
    deep = served.put(f"{top}/d/a/b", "CREATE", headers=JAVA)
    assert (deep.status, deep.exception) == (403, "NSQuotaExceededException")
    fits = served.put(f"{top}/d/a", "CREATE", headers=JAVA)
    assert fits.status == 307
    assert served.put(f"{top}/d/a", "CREATE", b"1" * 20_000, replication=1).status == 201
    assert served.put(f"{top}/d/a", "CREATE", headers=JAVA, overwrite=True).status == 307
    again = served.put(f"{top}/d/a", "CREATE", b"2" * 20_001, overwrite=True, replication=1)
    assert again.exception == "DSQuotaExceededException"
    assert served.read(f"{top}/d/a") == b"1" * 20_000


@pytest.mark.parametrize("method, op", [("PUT", "CREATE"), ("POST", "APPEND")])
def test_quotas_end_a_body_without_an_end(served: Served, top: str, method: str, op: str) -> None:
    served.mkdir(f"{top}/d")
    if op == "APPEND":
        served.write(f"{top}/d/f", b"x")
    served.put(f"{top}/d", "SETQUOTA", storagespacequota=60_000)
    with served.raw() as connection:
        target = f"{PREFIX}{top}/d/f?op={op}&user.name=root&replication=2"
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode() + (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 2)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 403") and b"DSQuotaExceededException" in answer
    expected = b"x" if op == "APPEND" else None
    assert (served.read(f"{top}/d/f") if served.exists(f"{top}/d/f") else None) == expected


def test_quotas_that_cannot_be_set(served: Served, top: str) -> None:
    served.write(f"{top}/f", b"")
    assert served.put(f"{top}/f", "SETQUOTA", namespacequota=5).exception == (
        "PathIsNotDirectoryException"
    )
    assert served.put(f"{top}/no", "SETQUOTA", namespacequota=5).status == 404
    assert served.put(top, "SETQUOTA", namespacequota=5, user="eve").status == 403
    for value in (0, -2):
        assert served.put(top, "SETQUOTA", namespacequota=value).status == 400
    assert served.put(top, "SETQUOTA").status == 400
    by_type = served.put(top, "SETQUOTABYSTORAGETYPE", storagetype="SSD", storagespacequota=1)
    assert by_type.exception == "UnsupportedOperationException"
