"""Names of the product: a class or module that is found by its name is the only one of it.

Modules of different layers may share a name where they are about the same thing, such as the
commands, messages, tables and rules for access control lists: ``SUBJECTS`` says which. What is new
here is decided by whoever adds it: another name, or one more line.
"""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import memfs

TOP = Path(memfs.__file__).parent
FACES = {"FileLock"}
"""Classes of the asynchronous API whose blocking form has the same name."""
SUBJECTS = {
    "access": "permissions and access control lists of files",
    "accounts": "users, their keys and groups",
    "acls": "access control lists",
    "attributes": "attributes of files",
    "authentication": "who a caller is",
    "blocking": "calls in a thread that waits",
    "blocks": "blocks of files",
    "bounds": "what clients may use of a node",
    "capabilities": "what is shown with requests for blocks",
    "checkpoints": "checkpoints of training, of two libraries",
    "checksums": "checksums of files",
    "client": "the client",
    "cluster": "the cluster",
    "commands": "commands of the log",
    "concat": "HDFS's concat",
    "connection": "one connection, of each protocol",
    "content": "bytes of files",
    "contents": "whole files",
    "coordinator": "who keeps the view",
    "copying": "copies of trees",
    "credentials": "what proves a client to a server",
    "directories": "directories",
    "disk": "the disk of a host",
    "drafts": "files that are written before they have a name",
    "entry": "where programs and scripts begin",
    "errors": "errors, and what they are called by others",
    "file": "file objects",
    "files": "files",
    "filesystem": "a file system, of each API",
    "fsspec": "the library",
    "fuse": "mounts",
    "gateway": "the gateway",
    "group": "a group of subcommands",
    "handle": "open files",
    "inodes": "inodes",
    "journal": "the journal",
    "links": "links",
    "listing": "listings",
    "locks": "file locks",
    "members": "members of the cluster",
    "mounts": "mounts of external stores",
    "names": "names of files",
    "namespace": "the namespace",
    "node": "a node",
    "opening": "making an open thing of its name",
    "opens": "which files are open",
    "operations": "operations on files",
    "options": "options",
    "patterns": "patterns of names",
    "primary_commands": "commands that the primary gives itself",
    "principal_limits": "limits of users",
    "proofs": "what clients without a certificate prove themselves with",
    "protocol": "a wire protocol",
    "put": "small files that are published together",
    "quotas": "quotas",
    "reading": "bytes out of files",
    "replies": "replies of a protocol",
    "requests": "requests of a protocol",
    "server": "what serves a protocol",
    "service": "what answers requests of one kind",
    "session": "a client's session",
    "sessions": "clients' sessions, and what becomes of them",
    "signatures": "signed files",
    "signing": "signed files",
    "stores": "external stores",
    "tensorflow": "the library",
    "tls": "TLS",
    "tokens": "delegation tokens",
    "torch": "the library",
    "tree": "a tree of names",
    "trees": "trees of names",
    "watch": "what clients may cache",
    "whole_files": "small files in one request",
    "writing": "bytes into files",
    "xattrs": "extended attributes",
}


def test_no_two_classes_share_a_name() -> None:
    found = Counter(
        node.name
        for path in sorted(TOP.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in found.items() if count > 1} == FACES


def test_modules_that_share_a_name_are_about_one_subject() -> None:
    found = defaultdict(list)
    for path in sorted(TOP.rglob("*.py")):
        named = path.parent if path.name == "__init__.py" else path
        found[named.stem].append(named.relative_to(TOP))
    assert {name for name, paths in found.items() if len(paths) > 1} == set(SUBJECTS)
