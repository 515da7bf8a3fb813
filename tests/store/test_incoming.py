"""What is written many at a time is what would be written one by one."""

import hashlib
import random

import pytest

from posthouse.store import emails, mailboxes
from posthouse.store.blobs import pack
from posthouse.store.emails import ALL, Column
from posthouse.store.incoming import ROWS_AT_ONCE
from posthouse.store.mailboxes import Box
from posthouse.store.script import Script, sql
from store_rig import Rig, message


def shown(rig: Rig, box: Box) -> list[tuple[object, ...]]:
    """What a client can see of each message, with its thread by the place of the first one in it."""
    columns = [
        Column.EMAIL,
        Column.THREAD,
        Column.SIZE,
        Column.ENVELOPE,
        Column.STRUCTURE,
        Column.HEADER,
        Column.FIELDS,
    ]
    rows = rig.read(emails.fetch, box, ALL, [*columns, Column.BLOB])
    place = {row[1]: number for number, row in enumerate(rows)}
    return [(uid, place[thread], *rest, rig.store.octets(blob)) for uid, _, thread, *rest, blob in rows]


def references(rig: Rig) -> list[tuple[int, int]]:
    def script() -> Script[list[tuple[int, int]]]:
        rows = yield sql("SELECT digest, refs FROM blob ORDER BY digest")
        return [(digest, refs) for digest, refs in rows]

    return rig.read(script)


def conversation(chance: random.Random, number: int) -> list[bytes]:
    """Messages that begin threads, answer any message before or after them, or come twice."""
    octets: list[bytes] = []
    for place in range(number):
        if octets and chance.random() < 0.1:
            octets.append(chance.choice(octets))
            continue
        head = b"From: a@home.test\r\nSubject: same\r\nMessage-ID: <%d@home.test>\r\n" % place
        if chance.random() < 0.4:
            head += b"References: <%d@home.test>\r\n" % chance.randrange(number)
        octets.append(head + b"\r\ntext %d\r\n" % place)
    return octets


@pytest.mark.parametrize("seed", range(6))
def test_together_or_one_by_one(rig: Rig, seed: int) -> None:
    octets = conversation(random.Random(seed), 3 * ROWS_AT_ONCE + 7)
    together = rig.box()
    other = rig.run(mailboxes.create, rig.ben, "other").box  # of another account, because threads are an account's
    assert len(rig.run(emails.add, together, [rig.email(one) for one in octets]).uids) == len(octets)
    once = references(rig)
    for one in octets:
        rig.run(emails.add, other, [rig.email(one)])
    assert shown(rig, together) == shown(rig, other)
    assert references(rig) == [(digest, 2 * refs) for digest, refs in once]


def test_octets_that_are_here_already_among_new_ones(rig: Rig) -> None:
    box = rig.box()
    octets = [message() for _ in range(2 * ROWS_AT_ONCE + 3)]
    rig.run(emails.add, box, [rig.email(one) for one in octets[::3]])
    rig.run(emails.add, box, [rig.email(one) for one in octets])
    rows = rig.read(emails.fetch, box, ALL, [Column.BLOB])
    assert [rig.store.octets(row[1]) for row in rows] == octets[::3] + octets


def forsaken(octets: list[bytes]) -> Script[None]:
    """Their rows as they are where nobody names them any more; half of them have their octets still."""
    for place, one in enumerate(octets):
        digest = hashlib.sha256(one).digest()
        [(key,)] = yield sql(
            "INSERT INTO blob (digest, size, refs, released) VALUES ($1, $2, 0, 1) RETURNING id", digest, len(one)
        )
        if place % 2:
            yield sql("INSERT INTO octets (blob, packed) VALUES ($1, $2)", key, pack(one))


def released() -> Script[int]:
    rows = yield sql("SELECT count(*) FROM blob WHERE released IS NOT NULL")
    return int(rows[0][0])


def test_octets_that_nobody_names_any_more_among_new_ones(rig: Rig) -> None:
    box = rig.box()
    octets = [message() for _ in range(2 * ROWS_AT_ONCE)]
    rig.run(forsaken, octets[::3])
    rig.run(emails.add, box, [rig.email(one) for one in octets])
    rows = rig.read(emails.fetch, box, ALL, [Column.BLOB])
    assert [rig.store.octets(row[1]) for row in rows] == octets
    assert {refs for _, refs in references(rig)} == {1}
    assert rig.read(released) == 0


def test_large_messages_among_small_ones(rig: Rig) -> None:
    box = rig.box()
    octets = [message() for _ in range(ROWS_AT_ONCE)]
    octets[7] = message(2_000_000)
    rig.run(emails.add, box, [rig.email(one) for one in octets])
    rows = rig.read(emails.fetch, box, ALL, [Column.BLOB])
    assert [rig.store.octets(row[1]) for row in rows] == octets
