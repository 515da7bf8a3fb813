"""Small messages that are kept unpacked: a read gives what a fresh one gives, and no more is kept than is allowed."""

import hashlib
import random

import apsw
import pytest

from posthouse.store import emails
from posthouse.store.emails import Column
from posthouse.store.lately import OVERHEAD, Lately
from posthouse.store.script import Unavailable
from posthouse.store.spans import LAST_UID
from posthouse.store.sqlite import DATABASE
from posthouse.store.whole import fetch_next, fetch_whole
from store_rig import Rig, message, new_email

ALL_UIDS = [(1, LAST_UID)]


def sizes(lately: Lately) -> int:
    """Octets of all that is kept."""
    halves = (lately._newer, lately._older)
    return sum(len(octets) + OVERHEAD for half in halves for octets in half.values())


@pytest.mark.parametrize("room", [0, 2_000, 20_000, 1 << 20])
def test_what_is_kept_is_what_a_fresh_read_gives(rig: Rig, room: int) -> None:
    chance, lately = random.Random(room), Lately(room)
    for _ in range(40):
        new = [new_email(rig.store, message(chance.randrange(200, 3_000))) for _ in range(chance.randrange(3))]
        if new:
            rig.store.run(emails.add, rig.box(), new)
        first = chance.randrange(1, 30)
        spans = [(first, first + chance.randrange(20))]
        rows = rig.store.read(fetch_whole, lately, rig.box(), spans, (Column.SIZE,), 100)
        fresh = rig.store.read(fetch_whole, Lately(), rig.box(), spans, (Column.SIZE,), 100)
        assert rows == fresh
        assert all(len(octets) == size for _, size, _, octets in rows)
        assert sizes(lately) <= room


def test_the_next_messages_have_room_together(rig: Rig) -> None:
    """The first whatever its size, and of the others as many as there is room for; larger ones without octets."""
    sizes = [3_000, 2_000, 200_000, 2_500, 900, 4_000]
    several = [message(size) for size in sizes]
    rig.store.run(emails.add, rig.box(), [new_email(rig.store, octets) for octets in several])
    lately = Lately()

    def found(first: int, limit: int, room: int) -> list[int]:
        rows = rig.store.read(fetch_next, lately, rig.box(), [(first, LAST_UID)], limit, room)
        for uid, _, size, _, octets in rows:
            assert size == len(several[uid - 1])
            assert octets == (None if uid == 3 else several[uid - 1])
        return [row[0] for row in rows]

    together = [len(octets) for octets in several]
    assert found(1, 10, 1 << 20) == [1, 2, 3, 4, 5, 6]
    assert found(1, 4, 1 << 20) == [1, 2, 3, 4]
    assert found(1, 10, 0) == [1]
    assert found(1, 10, together[0] + together[1]) == [1, 2, 3]
    assert found(3, 10, together[3]) == [3, 4]
    assert found(3, 10, together[3] - 1) == [3]
    assert found(7, 10, 100) == []


def test_a_message_that_is_read_once_more_is_kept_longer() -> None:
    octets = [bytes([number]) * 100 for number in range(30)]
    several = [(hashlib.sha256(one).digest(), one) for one in octets]
    lately = Lately(10 * (100 + OVERHEAD))
    for digest, one in several:
        lately.put_many([(digest, one)])
        assert lately.get_many([several[0][0]]) == [octets[0]]
    assert lately.get_many([several[1][0], several[29][0]]) == [None, octets[29]]


def test_what_is_expunged_is_not_shown_from_memory(rig: Rig) -> None:
    lately = Lately()
    rig.store.run(emails.add, rig.box(), [new_email(rig.store, message(500)) for _ in range(3)])
    assert len(rig.store.read(fetch_whole, lately, rig.box(), ALL_UIDS, (), 100)) == 3
    rig.store.run(emails.expunge, rig.box(), [(2, 2)], marked=False)
    assert [row[0] for row in rig.store.read(fetch_whole, lately, rig.box(), ALL_UIDS, (), 100)] == [1, 3]


def test_octets_that_are_damaged_are_not_kept(rig: Rig) -> None:
    lately = Lately()
    rig.store.run(emails.add, rig.box(), [new_email(rig.store, message(500)) for _ in range(2)])
    connection = apsw.Connection(str(rig.store.directory / DATABASE))
    packed = connection.execute("SELECT packed FROM octets ORDER BY blob LIMIT 1").fetchall()[0][0]
    connection.execute("UPDATE octets SET packed = ? WHERE blob = (SELECT max(blob) FROM octets)", (packed,))
    with pytest.raises(Unavailable):
        rig.store.read(fetch_whole, lately, rig.box(), ALL_UIDS, (), 100)
    assert not sizes(lately)
    connection.execute("UPDATE octets SET packed = zeroblob(10)")
    with pytest.raises(Unavailable):
        rig.store.read(fetch_whole, lately, rig.box(), [(1, 1)], (), 100)
    assert not sizes(lately)
    connection.close()
