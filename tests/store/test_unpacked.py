"""Pages that are kept unpacked are those of the index, whatever happens to its blocks."""

import random

import pytest

from posthouse.mail.ids import AccountId, EmailId
from posthouse.mail.text import texts
from posthouse.store import unpacked
from posthouse.store.blocks import Block
from posthouse.store.index import Index, Writer
from posthouse.store.pages import Kind, Wanted, entry
from posthouse.store.unpacked import OVERHEAD, Unpacked

WORDS = ("ONE", "TWO", "THREE")
WANTED = [Wanted((Kind.SUBJECT,), word.encode(), "SUBJECT") for word in WORDS]


async def believe(_):
    return True


@pytest.mark.parametrize(("seed", "room"), [(1, 1 << 20), (2, 1 << 20), (3, 2_000), (4, 0)])
async def test_what_is_found_is_what_is_there(tmp_path, monkeypatch, seed, room):
    monkeypatch.setattr(unpacked, "KEPT_OCTETS", room)
    chance = random.Random(seed)
    writer, index = Writer(tmp_path), Index(tmp_path, believe)
    there: dict[AccountId, dict[int, set[str]]] = {AccountId(1): {}, AccountId(2): {}}
    last = 0
    for _ in range(150):
        account = chance.choice(list(there))
        deed = chance.random()
        if deed < 0.5:
            entries = []
            for _ in range(chance.randrange(1, 70)):
                last += 1
                said = set(chance.sample(WORDS, chance.randrange(4)))
                octets = f"Subject: {' '.join(sorted(said)) or 'zero'}\r\n\r\n".encode()
                entries.append(entry(last, b"12345678", None, texts(octets, 1_000)))
                there[account][last] = said
            writer.add({account: entries}, EmailId(last))
        elif deed < 0.7 and (blocks := writer.blocks(0, 1_000)):
            block, emails = chance.choice(blocks)
            gone = set(emails if chance.random() < 0.3 else chance.sample(emails, len(emails) // 2))
            writer.forget(block, gone)
            for one in there.values():
                for email in gone:
                    one.pop(email, None)
        elif deed < 0.72:
            writer.clear()
            there = {one: {} for one in there}
        found = await index.find(account, WANTED, 1_000)
        assert found is not None
        assert found.hits == [{email for email, said in there[account].items() if word in said} for word in WORDS]
        assert index._unpacked._octets <= room
    index.close()
    writer.close()


def test_no_more_is_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(unpacked, "KEPT_OCTETS", 3 * (100 + OVERHEAD))
    kept = Unpacked()
    for account in (1, 2):
        kept.begin(AccountId(account), "first")
        for number in range(5):
            kept.put(Block(account << 32 | number, 1, 100, number, 0), Kind.SUBJECT, bytes(100))
        assert [kept.get(Block(account << 32 | n, 1, 100, n, 0), Kind.SUBJECT) is not None for n in range(5)] == [
            True, True, True, False, False
        ]  # fmt: skip
    kept.begin(AccountId(1), "first")
    assert kept.get(Block(1 << 32, 1, 100, 0, 0), Kind.SUBJECT) is None  # another account needed the room
    kept.begin(AccountId(2), "first")
    assert kept.get(Block(2 << 32, 2, 100, 0, 0), Kind.SUBJECT) is None  # another block now
    assert kept.get(Block(2 << 32, 1, 100, 0, 0), Kind.SUBJECT) == bytes(100)
    kept.begin(AccountId(2), "second")
    assert kept.get(Block(2 << 32, 1, 100, 0, 0), Kind.SUBJECT) is None
