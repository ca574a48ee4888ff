"""How the cost of stat and create grows with the number of files.

At ten thousand and at a million files, a thousand to a directory. First whole calls of the client
to a node: ``stat`` of a random path and ``write_bytes`` of an empty file. Then the state machine
alone, in this process: one lookup, and one create with its commit. A million files do not fit the
caches of the processor, ten thousand do: that is most of what the state machine's ratio shows, and
the target allows for that and for nothing that grows with the count.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import memfs
from benchmarks import cluster, populated
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from memfs.protocol import messages

SAME = 1.3
T = TypeVar("T", str, bytes)


def run(scale: Scale) -> Iterator[Row]:
    """Time a small and a large cluster, then a small and a large namespace."""
    yield from through_a_node(scale)
    yield from state_machine(scale)


def state_machine(scale: Scale) -> Iterator[Row]:
    """Time lookups and creates in two namespaces in this process."""
    sizes = {"few": scale.pick(10_000, 100), "many": scale.pick(1_000_000, 1000)}
    samples = {name: populated.sample(of, scale.pick(10_000, 50)) for name, of in sizes.items()}
    states = {name: populated.populated(populated.spread(of)) for name, of in sizes.items()}
    numbers = itertools.count()

    def stat(name: str) -> float:
        query = states[name].namespace.query
        return each_seconds(
            lambda path: query(populated.ROOT, messages.Lookup(path)), samples[name]
        )

    def create(name: str) -> float:
        fresh = [b"%s-%d" % (path, next(numbers)) for path in samples[name]]
        return each_seconds(lambda path: create_file(states[name], path), fresh)

    times = alternate(contenders(stat, create), scale.rounds)
    yield from rows("namespace", times, "the same at 10 k files", "1 M files")


def through_a_node(scale: Scale) -> Iterator[Row]:
    """Time a client's calls to a node with few files and to one with many."""
    sizes = {"few": scale.pick(10_000, 20), "many": scale.pick(1_000_000, 100)}
    with cluster.cluster(1) as few, cluster.cluster(1) as many:
        urls = {"few": few, "many": many}
        clients = {
            name: memfs.connect(url, replication=1, local_descriptors=False)
            for name, url in urls.items()
        }
        samples = {}
        for name, fs in clients.items():
            fill(fs, sizes[name])
            chosen = populated.sample(sizes[name], scale.pick(1_000, 10))
            samples[name] = [path.decode() for path in chosen]
        numbers = itertools.count()

        def create(name: str) -> float:
            fresh = [f"{path}-{next(numbers)}" for path in samples[name]]
            return each_seconds(lambda path: clients[name].write_bytes(path, b""), fresh)

        def stat(name: str) -> float:
            return each_seconds(clients[name].stat, samples[name])

        times = alternate(contenders(stat, create), scale.rounds)
        for fs in clients.values():
            fs.close()
    yield from rows("through a node", times, "the same at 10 k files", "1 M files")


def contenders(
    stat: Callable[[str], float], create: Callable[[str], float]
) -> dict[str, Callable[[], float]]:
    """Return both operations at both sizes, the sizes taking turns."""
    pairs = itertools.product((stat, create), ("few", "many"))
    return {f"{act.__name__} {name}": partial(act, name) for act, name in pairs}


def rows(where: str, times: dict[str, float], peer: str, size: str) -> Iterator[Row]:
    """Compare many files with few."""
    for act in ("stat", "create"):
        figures = times[f"{act} many"] * 1e6, peer, times[f"{act} few"] * 1e6
        yield Row(f"{act} at {size}, {where}", "µs", *figures, SAME, lower_is_better=True)


def create_file(state: populated.Populated, path: bytes) -> None:
    """Create an empty file and close it: the two commands of ``open`` and ``close``."""
    attributes = state.apply(messages.Create(path)).attributes
    state.apply(messages.Commit(attributes.inode, attributes.generation, 0, release=True))


def fill(fs: memfs.FileSystem, count: int) -> None:
    """Store empty files, a thousand at a time."""
    paths = [path.decode() for path in populated.spread(count)]
    for start in range(0, count, populated.PER_DIRECTORY):
        batch = paths[start : start + populated.PER_DIRECTORY]
        fs.mkdir(batch[0].rpartition("/")[0])
        fs.write_many(dict.fromkeys(batch, b""))


def each_seconds(act: Callable[[T], object], paths: Sequence[T]) -> float:
    """Return the seconds that ``act`` takes for one path."""
    with Stopwatch() as watch:
        for path in paths:
            act(path)
    return watch.seconds / len(paths)
