"""What counts as held, with and without a journal, under both rules of acknowledgement."""

from __future__ import annotations

import asyncio

import pytest

from memfs.errors import NoSpaceError, NotPermittedError
from memfs.node.journal.namespace_journal import NamespaceJournal
from memfs.node.log.entries import Entry
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.testing.simulation.virtual import run
from memfs.types import Identity

from .test_journal import SETTINGS, Machine


def entries(namespace, count):
    """Commands that were just applied."""
    made = []
    for _ in range(count):
        index = namespace.applied + 1
        request = m.MakeDirectory(b"/d%d" % index)
        opcode = m.BY_REQUEST[m.MakeDirectory].opcode
        made.append(
            Entry(index, 1, index, 7, index, Identity("root"), opcode, records.encode(request))
        )
        namespace.apply(made[-1], request)
    return made


def test_without_a_journal_what_was_applied_counts():
    async def main():
        feed, namespace = NamespaceJournal(None, lambda: False), Namespace(SETTINGS, 1)
        feed.append(namespace, entries(namespace, 3))
        feed.check_room(m.MakeDirectory(b"/x"))
        await feed.until_durable(namespace)
        assert feed.durable(namespace) == 3 and not feed.active

    run(main())


def test_without_a_journal_nobody_is_in_sync_where_one_is_asked_for():
    async def main():
        feed, namespace = NamespaceJournal(None, lambda: True), Namespace(SETTINGS, 1)
        entries(namespace, 3)
        assert feed.durable(namespace) == 0
        with pytest.raises(NotPermittedError, match="keeps no journal"):
            await feed.until_durable(namespace)

    run(main())


def test_what_is_on_the_disk_counts():
    async def main():
        machine = await Machine(blocks=False).form()
        feed, namespace = NamespaceJournal(machine.journal, lambda: True), machine.namespace
        heard = []
        feed.follow(lambda: heard.append(feed.durable(namespace)))
        feed.append(namespace, entries(namespace, 3))
        assert feed.durable(namespace) == 0
        await feed.until_durable(namespace)
        assert feed.durable(namespace) == 3 and heard == [3]
        await machine.journal.close()

    run(main())


def test_another_namespace_begins_anew_once():
    async def main():
        machine = await Machine(blocks=False).form()
        feed, other = NamespaceJournal(machine.journal, lambda: True), Namespace(SETTINGS, 9)
        first = entries(other, 5)
        feed.append(other, first)
        assert feed.durable(other) == 0, "it is not the one that is followed"
        await asyncio.gather(*[feed.until_durable(other) for _ in range(3)])
        assert feed.durable(other) == 5 and machine.journal.log.follows is other
        feed.append(other, first[3:] + entries(other, 2))
        await feed.until_durable(other)
        assert feed.durable(other) == 7
        assert all(name.startswith("00000002-") for name in machine.disk.names("/j/namespace"))
        await machine.journal.close()

    run(main())


def test_on_a_full_disk_what_frees_room_is_taken():
    async def main():
        machine = await Machine(blocks=False).form()
        feed, namespace = NamespaceJournal(machine.journal, lambda: True), machine.namespace
        machine.disk.capacity = machine.disk.used
        feed.append(namespace, entries(namespace, 1))
        await feed.until_durable(namespace)
        with pytest.raises(NoSpaceError):
            feed.check_room(m.MakeDirectory(b"/x"))
        feed.check_room(m.Unlink(b"/x"))
        NamespaceJournal(machine.journal, lambda: False).check_room(m.MakeDirectory(b"/x"))
        await machine.journal.close()

    run(main())
