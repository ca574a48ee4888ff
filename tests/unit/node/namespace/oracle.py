"""A second namespace, slow and plain: nodes that point at each other, totals by walking.

Written from POSIX and the documentation of the messages, not from the implementation: it shares no
code with it. It knows files with blocks, directories, symlinks, links, permission and leases.
"""

from __future__ import annotations

from collections.abc import Iterator

from memfs import errors
from memfs.types import Identity


class Node:
    """An inode."""

    def __init__(self, kind: int, mode: int, owner: str, group: str, **rest: object) -> None:
        self.kind = kind
        self.mode = mode
        self.owner = owner
        self.group = group
        self.entries: dict[bytes, Node] = {}
        self.parent: Node = self
        self.target = b""
        self.device = 0
        self.size = 0
        self.blocks: dict[int, tuple[int, int]] = {}
        self.replication = 2
        self.generation = 0
        self.writer = 0
        self.named: dict[tuple[int, str], int] = {}
        """Of an access list: named users, the group itself and named groups, by (kind, name)."""
        self.default: dict[tuple[int, str], int] = {}
        """Of a default list, all entries."""
        self.holders: dict[int, int] = {}
        """id() of directories that hold a link, how many, oldest directory first."""
        self.__dict__.update(rest)

    @property
    def links(self) -> int:
        if self.kind == 1:
            return 2 + sum(child.kind == 1 for child in self.entries.values())
        return sum(self.holders.values())


class Oracle:
    """What the namespace should be."""

    def __init__(self) -> None:
        self.root = Node(1, 0o777, "root", "wheel")

    # --- resolution --------------------------------------------------------------------------

    def walk(
        self, who: Identity, path: bytes, follow: bool, depth: int = 0, start: Node | None = None
    ) -> tuple[Node, bytes, Node | None]:
        """(directory, last name, node); for a path without a last name (node, b"", node)."""
        at = self.root if start is None or path.startswith(b"/") else start
        parts = [part for part in path.split(b"/") if part and part != b"."]
        must = path.endswith((b"/", b"/."))
        if not parts:
            return at, b"", at
        for number, name in enumerate(parts):
            last = number == len(parts) - 1
            if at.kind != 1:
                raise errors.NotDirectoryError
            if not self.may(who, at, 1):
                raise errors.AccessDeniedError
            if name == b"..":
                at = at.parent
                if last:
                    return at, b"", at
                continue
            child = at.entries.get(name)
            if child is None:
                if last:
                    return at, name, None
                raise errors.PathNotFoundError
            if child.kind == 2 and (not last or follow or must):
                if depth >= 40:
                    raise errors.SymlinkLoopError
                rest = b"/".join(parts[number + 1 :])
                further = child.target + (b"/" + rest if rest else b"")
                if must:
                    further += b"/"
                return self.walk(who, further, follow, depth + 1, at)
            if last:
                if must and child.kind != 1:
                    raise errors.NotDirectoryError
                return at, name, child
            at = child
        raise AssertionError

    def find(self, who: Identity, path: bytes, follow: bool = True) -> Node:
        node = self.walk(who, path, follow)[2]
        if node is None:
            raise errors.PathNotFoundError
        return node

    def parent(self, who: Identity, path: bytes) -> bytes:
        """The last component, after a walk to what holds it."""
        above, _, last = path.rstrip(b"/").rpartition(b"/")
        if above:
            self.find(who, above + b"/")
        return last

    def entry(
        self, who: Identity, path: bytes, refusals: dict[bytes, type[Exception]]
    ) -> tuple[Node, bytes, Node | None]:
        """The place of a name that is not followed."""
        bare = path.rstrip(b"/")
        last = bare.split(b"/")[-1]
        if last in (b"", b".", b".."):
            self.parent(who, path)
            raise refusals[last]
        parent, name, node = self.walk(who, bare, False)
        if node is not None and bare != path and node.kind != 1:
            raise errors.NotDirectoryError
        return parent, name, node

    # --- permission --------------------------------------------------------------------------

    @staticmethod
    def superuser(who: Identity) -> bool:
        return who.user == "root" or "wheel" in who.groups

    @staticmethod
    def groups(who: Identity) -> tuple[str, ...]:
        return who.groups or (who.user,)

    def may(self, who: Identity, node: Node, wanted: int) -> bool:
        if self.superuser(who):
            return True
        if who.user == node.owner:
            bits = node.mode >> 6
        elif node.named:
            return self.listed(who, node, wanted)
        elif node.group in self.groups(who):
            bits = node.mode >> 3
        else:
            bits = node.mode
        return bits & wanted == wanted

    def listed(self, who: Identity, node: Node, wanted: int) -> bool:
        """As :meth:`may`, for who is not the owner of a node with an access list."""
        mask = node.mode >> 3 & 7
        if (0, who.user) in node.named:
            return node.named[0, who.user] & mask & wanted == wanted
        groups = {**{(1, name): name for name in self.groups(who)}}
        if node.group in self.groups(who):
            groups[1, ""] = node.group
        found = [node.named[key] & mask for key in groups if key in node.named]
        if found:
            return any(bits & wanted == wanted for bits in found)
        return node.mode & wanted == wanted

    def need(self, who: Identity, node: Node, wanted: int) -> None:
        if not self.may(who, node, wanted):
            raise errors.AccessDeniedError

    def owns(self, who: Identity, node: Node) -> bool:
        return self.superuser(who) or who.user == node.owner

    def may_remove(self, who: Identity, parent: Node, node: Node) -> None:
        self.need(who, parent, 3)
        if parent.mode & 0o1000 and not self.owns(who, node) and not self.owns(who, parent):
            raise errors.NotPermittedError

    # --- structure ---------------------------------------------------------------------------

    def new(
        self,
        who: Identity,
        parent: Node,
        name: bytes,
        kind: int,
        mode: int,
        unmasked: int | None = None,
    ) -> Node:
        self.need(who, parent, 3)
        named: dict[tuple[int, str], int] = {}
        default = parent.default if kind != 2 else {}
        if default:
            asked = mode if unmasked is None else unmasked
            middle = default.get((2, ""), default[1, ""])
            bits = default[0, ""] << 6 | middle << 3 | default[3, ""]
            mode = mode & ~0o777 | asked & bits
            if len(default) > 3:
                named = {key: bits for key, bits in default.items() if _is_named(key)}
        inherits = parent.mode & 0o2000 or who.parents_group
        group = parent.group if inherits else self.groups(who)[0]
        if parent.mode & 0o2000 and kind == 1:
            mode |= 0o2000
        foreign = group not in self.groups(who) and not self.superuser(who)
        if mode & 0o2010 == 0o2010 and kind != 1 and foreign:
            mode &= ~0o2000
        node = Node(kind, mode, who.user, group)
        node.named = named
        node.default = dict(default) if kind == 1 else {}
        self.attach(parent, name, node)
        return node

    @staticmethod
    def attach(parent: Node, name: bytes, node: Node) -> None:
        parent.entries[name] = node
        if node.kind == 1:
            node.parent = parent
        else:
            node.holders[id(parent)] = node.holders.get(id(parent), 0) + 1

    @staticmethod
    def detach(parent: Node, name: bytes) -> Node:
        node = parent.entries.pop(name)
        if node.kind != 1:
            node.holders[id(parent)] -= 1
            if not node.holders[id(parent)]:
                del node.holders[id(parent)]
        return node

    def forget_tree(self, top: Node) -> None:
        """All names below a removed directory are gone."""
        for name, node in list(top.entries.items()):
            if node.kind == 1:
                self.forget_tree(node)
            self.detach(top, name)

    def has_ancestor(self, node: Node, ancestor: Node) -> bool:
        while node is not ancestor and node is not self.root:
            node = node.parent
        return node is ancestor

    # --- totals ------------------------------------------------------------------------------

    def du(self, node: Node) -> tuple[int, int, int, int]:
        """length, files, directories, space."""
        if node.kind != 1:
            length = node.size if node.kind == 0 else 0
            return length, 1, 0, length * node.replication
        length = files = space = 0
        directories = 1
        seen: set[int] = set()
        for child in node.entries.values():
            if child.kind == 1:
                below = self.du(child)
            elif next(iter(child.holders)) == id(node) and id(child) not in seen:
                seen.add(id(child))
                below = self.du(child)
            else:
                continue
            length += below[0]
            files += below[1]
            directories += below[2]
            space += below[3]
        return length, files, directories, space

    def every(self, node: Node | None = None, path: bytes = b"/") -> Iterator[tuple[bytes, Node]]:
        """All names with their nodes."""
        node = node or self.root
        yield path, node
        for name, child in sorted(node.entries.items()):
            yield from self.every(child, path.rstrip(b"/") + b"/" + name)


def _is_named(key: tuple[int, str]) -> bool:
    """Is it of what the mask limits?"""
    return key != (0, "") and key[0] < 2
