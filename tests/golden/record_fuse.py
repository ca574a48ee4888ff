"""Record what a C compiler says of the kernel's header: ``python -m tests.golden.record_fuse``.

Writes ``fuse.json``: sizes, offsets and numbers of what ``memfs.fuse.kernel.protocol`` names.
Needs ``cc`` and Debian's ``linux-libc-dev``, which it fetches.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from memfs.fuse.kernel import protocol as p
from tests.support.debian import unpacked

GOLDEN = Path(__file__).parent / "fuse.json"
NESTED = {"fuse_lk_in": ("lk", ("start", "end", "type", "pid"))}
"""Fields that the header has inside another structure."""
EXTENDED = {"fuse_entry_out": "attr", "fuse_attr_out": "attr"}
"""Structures whose last field is a structure that is written after them."""


def structures() -> list[p.Structure]:
    """All that are declared."""
    return [each for each in vars(p).values() if isinstance(each, p.Structure)]


def constants() -> dict[str, int]:
    """The header's names of all numbers that are declared."""
    found = {}
    for kind, prefix in (
        (p.Opcode, "FUSE_"),
        (p.Notify, "FUSE_NOTIFY_"),
        (p.InitFlag, "FUSE_"),
        (p.OpenFlag, "FOPEN_"),
        (p.SetAttr, "FATTR_"),
    ):
        found |= {prefix + each.name: int(each) for each in kind}
    names = (
        "ROOT_ID UNIQUE_RESEND RELEASE_FLUSH RELEASE_FLOCK_UNLOCK GETATTR_FH LK_FLOCK WRITE_CACHE "
        "WRITE_LOCKOWNER WRITE_KILL_SUIDGID FSYNC_FDATASYNC OPEN_KILL_SUIDGID "
        "SETXATTR_ACL_KILL_SGID EXPIRE_ONLY IOCTL_DIR EXT_GROUPS DEV_IOC_CLONE "
        "DEV_IOC_BACKING_OPEN DEV_IOC_BACKING_CLOSE MIN_READ_BUFFER"
    )
    found |= {f"FUSE_{name}": getattr(p, name) for name in names.split()}
    return found | {"FUSE_KERNEL_VERSION": p.MAJOR, "FUSE_KERNEL_MINOR_VERSION": p.MINOR}


def member(structure: p.Structure, field: str) -> str:
    """How C calls a field."""
    outer, inner = NESTED.get(structure.c_name, ("", ()))
    return f"{outer}.{field}" if field in inner else field


def program() -> str:
    """A C program that prints what it knows."""
    lines = ["#include <stdio.h>", "#include <stddef.h>", "#include <sys/ioctl.h>"]
    lines.append("#include <linux/fuse.h>")
    lines.append('int main(void) { printf("{\\"structures\\": {");')
    for number, each in enumerate(structures()):
        tail = EXTENDED.get(each.c_name)
        size = f"sizeof(struct {each.c_name})"
        if tail:
            size = f"offsetof(struct {each.c_name}, {tail})"
        comma = "," if number else ""
        lines.append(f'printf("{comma}\\n\\"{each.c_name}\\": [%zu, {{", {size});')
        for place, field in enumerate(each.record._fields):
            name = f"((struct {each.c_name} *)0)->{member(each, field)}"
            offset = f"offsetof(struct {each.c_name}, {member(each, field)})"
            comma = "," if place else ""
            lines.append(f'printf("{comma}\\"{field}\\": [%zu, %zu]", {offset}, sizeof({name}));')
        lines.append('printf("}]");')
    lines.append('printf("},\\n\\"constants\\": {");')
    for number, name in enumerate(constants()):
        comma = "," if number else ""
        lines.append(f'printf("{comma}\\n\\"{name}\\": %llu", (unsigned long long){name});')
    lines.append('printf("}}\\n"); return 0; }')
    return "\n".join(lines)


def main() -> None:
    """Compile it, run it, keep what it says."""
    headers = unpacked("kernel-headers", ["linux-libc-dev"]) / "usr" / "include"
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "fuse.c"
        source.write_text(program())
        binary = source.with_suffix("")
        subprocess.run(["cc", "-I", str(headers), "-o", str(binary), str(source)], check=True)
        said = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    sections = [
        f"{json.dumps(name)}: {{\n" + ",\n".join(_lines(section)) + "\n}"
        for name, section in json.loads(said).items()
    ]
    GOLDEN.write_text("{" + ",\n".join(sections) + "}\n")


def _lines(section: dict[str, object]) -> list[str]:
    return [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in section.items()]


if __name__ == "__main__":
    main()
