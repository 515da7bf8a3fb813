"""The search index: pages hold what was put in, the indexer keeps up, and an index of other mail is not believed."""

import asyncio
import fcntl
import os
import random
import sys

from posthouse.mail.ids import AccountId
from posthouse.mail.text import texts
from posthouse.store import emails, indexer, mailboxes
from posthouse.store.indexer import Indexer, keep_index
from posthouse.store.pages import (
    BLOCK_EMAILS,
    CUT,
    UNREAD,
    WHOLE,
    Kind,
    Wanted,
    cards_of,
    entries_of,
    entry,
    pack,
    page_of,
    places,
)
from posthouse.store.store import Store, open_sync
from store_rig import furnish, message, new_email

SUBJECT = (Kind.SUBJECT,)


async def filled(directory, count: int) -> tuple[Store, AccountId]:
    store = await Store.open(directory)
    with open_sync(directory) as sync:
        anna, _ = furnish(sync)
    await add(store, anna, count)
    return store, anna


async def add(store: Store, account: AccountId, count: int) -> None:
    row = await store.read(mailboxes.find, account, "INBOX")
    assert row is not None
    for _ in range(count):
        await store.run(emails.add, row.box, [new_email(store, message())])


async def caught_up(store: Store) -> Indexer:
    one = Indexer(store)
    writer = await one.begin()
    while await one.step(writer):
        pass
    return one


def test_pages_hold_what_was_put_in():
    entries = [
        entry(number, b"%08d" % number, None if number % 2 else number, texts(message(), 10_000)) for number in range(5)
    ]
    *pages, cards = pack(entries)
    assert entries_of(cards_of(cards, 5), [page_of(page, 5) for page in pages]) == entries


def test_a_name_is_not_found_in_values_nor_across_lines():
    octets = b"Subject: one\r\nFrom: a@b.test\r\nX-A: Subject: two\r\nX-B: three\r\n\r\nbody"
    *pages, _ = pack([entry(1, b"12345678", None, texts(octets, 1_000))])
    rest = page_of(pages[Kind.REST], 1)
    subject = page_of(pages[Kind.SUBJECT], 1)
    assert places(rest, Wanted((Kind.REST,), b"TWO", "X-A")) == [0]
    assert places(rest, Wanted((Kind.REST,), b"THREE", "X-A")) == []
    assert places(rest, Wanted((Kind.REST,), b"TWO", "X-A: SUBJECT")) == []
    assert places(subject, Wanted(SUBJECT, b"SUBJECT", "SUBJECT")) == []
    assert places(subject, Wanted(SUBJECT, b"ONE", "SUBJECT")) == [0]
    assert places(subject, Wanted(SUBJECT, b" ONE", "SUBJECT")) == []


def test_texts_that_cannot_stand_in_an_index_are_read():
    good = texts(b"Subject: a\r\n\r\nbody", 1_000)
    assert entry(1, b"12345678", None, good).flaw == WHOLE
    assert entry(1, b"12345678", None, good._replace(whole=False)).flaw == CUT
    assert entry(1, b"12345678", None, good._replace(bodies=["a\0b"])).flaw == UNREAD
    assert entry(1, b"12345678", None, good._replace(bodies=["a\ud800b"])).flaw == UNREAD


async def test_blocks_stay_few(tmp_path):
    store, anna = await filled(tmp_path, 3)
    one = await caught_up(store)
    for _ in range(20):
        await add(store, anna, 3)
        await caught_up_again(one)
    blocks = one._writer.blocks(0, 1_000)
    assert sorted(email for _, emails in blocks for email in emails) == list(range(1, 64))
    assert len(blocks) <= 6
    assert all(len(emails) <= BLOCK_EMAILS for _, emails in blocks)
    found = await store.index.find(anna, [Wanted(SUBJECT, b"NUMBER ", "SUBJECT")], 1_000)
    assert found.mark == 63
    assert found.hits == [set(range(1, 64))]
    one.close()
    await store.close()


async def caught_up_again(one: Indexer) -> None:
    while await one.step(one._writer):
        pass


async def test_an_index_of_other_mail_is_not_believed(tmp_path):
    """After a restore the ids of Emails are given again."""
    first, anna = await filled(tmp_path / "first", 5)
    (await caught_up(first)).close()
    await first.close()
    for count in (3, 5, 7):
        second, anna = await filled(tmp_path / str(count), count)
        (tmp_path / str(count) / "search.db").write_bytes((tmp_path / "first" / "search.db").read_bytes())
        assert await second.index.find(anna, [Wanted(SUBJECT, b"NUMBER", "SUBJECT")], 1_000) is None
        one = await caught_up(second)
        found = await second.index.find(anna, [Wanted(SUBJECT, b"NUMBER", "SUBJECT")], 1_000)
        assert found.hits == [set(range(1, count + 1))]
        one.close()
        await second.close()


async def test_a_damaged_or_removed_index_is_made_anew(tmp_path):
    store, anna = await filled(tmp_path, 5)
    wanted = [Wanted(SUBJECT, b"NUMBER", "SUBJECT")]
    assert await store.index.find(anna, wanted, 10) is None
    (tmp_path / "search.db").write_bytes(b"no database at all" * 1_000)
    assert await store.index.find(anna, wanted, 10) is None
    one = await caught_up(store)
    assert (await store.index.find(anna, wanted, 10)).mark == 5
    indexer.remove(tmp_path)
    assert not one._writer.there()
    assert await store.index.find(anna, wanted, 10) is None
    one.close()
    one = await caught_up(store)
    assert (await store.index.find(anna, wanted, 10)).mark == 5
    one.close()
    await store.close()


async def test_what_was_removed_goes_out(tmp_path):
    store, anna = await filled(tmp_path, 5)
    one = await caught_up(store)
    one._writer.forget(one._writer.blocks(0, 1)[0][0], {2, 4})
    found = await store.index.find(anna, [Wanted(SUBJECT, b"NUMBER", "SUBJECT")], 10)
    assert found.hits == [{1, 3, 5}]
    assert await store.read(indexer.gone, [1, 5, 99]) == {99}
    one.close()
    await store.close()


async def test_what_was_removed_or_damaged_meanwhile_stops_nobody(tmp_path):
    store, anna = await filled(tmp_path, 3)
    one = Indexer(store)
    places = await one._places([1, 99, 3])
    assert sorted(places) == [1, 3]
    places[3] = (*places[3][:3], b"damaged")
    entries = indexer._read_some(store.blobs, await store.read(indexer.behind, 0, 10), places)
    assert [(account, each.email, each.flaw) for account, each in entries] == [(anna, 1, WHOLE), (anna, 3, UNREAD)]
    one.close()
    await store.close()


async def test_many_small_messages_are_read_in_a_few_goes(tmp_path, monkeypatch):
    store, _ = await filled(tmp_path, 100)
    goes = []
    really = indexer._read_some
    monkeypatch.setattr(indexer, "_read_some", lambda *args: goes.append(len(args[1])) or really(*args))
    (await caught_up(store)).close()
    assert sum(goes) == 100
    assert 1 < len(goes) < 10
    await store.close()


def test_what_comes_meanwhile_is_taken_up_together():
    assert indexer._rest(0, signed=False, worked=0.0) == indexer.POLL_SECONDS
    assert indexer._rest(3, signed=False, worked=0.001) == indexer.PAUSE_SECONDS
    assert indexer._rest(indexer.AT_ONCE, signed=False, worked=0.2) == 0.2
    assert indexer._rest(indexer.AT_ONCE, signed=False, worked=0.001) < indexer.PAUSE_SECONDS


async def test_one_at_a_time_and_another_takes_over(tmp_path):
    store, anna = await filled(tmp_path, 2)
    lock = os.open(tmp_path / indexer.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    duties = [asyncio.create_task(keep_index(store)) for _ in range(2)]
    await asyncio.sleep(0.2)
    assert not (tmp_path / "search.db").exists()
    os.close(lock)
    wanted = [Wanted(SUBJECT, b"NUMBER", "SUBJECT")]
    for _ in range(2):
        await add(store, anna, 1)
        last = await store.read(indexer.newest)
        for _ in range(1_200):
            found = await store.index.find(anna, wanted, 10)
            if found is not None and found.mark == last:
                break
            await asyncio.sleep(0.05)
        assert found is not None
        assert found.mark == last
        ended = duties.pop(0)
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
    await store.close()


CHILD = """
import asyncio, sys
from pathlib import Path
from posthouse.store import indexer
from posthouse.store.indexer import Indexer
from posthouse.store.store import Store

async def main():
    indexer.AT_ONCE = 3
    store = await Store.open(Path(sys.argv[1]))
    one = Indexer(store)
    writer = await one.begin()
    print("begun", flush=True)
    while await one.step(writer):
        pass

asyncio.run(main())
"""


async def test_killed_anywhere_it_is_never_wrong(tmp_path):
    store, anna = await filled(tmp_path, 400)
    wanted = [Wanted(SUBJECT, b"NUMBER ", "SUBJECT"), Wanted((Kind.BODY,), b"IPSUM")]
    chance = random.Random(3)
    marks = []
    for _ in range(5):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert await child.stdout.readline() == b"begun\n"
        await asyncio.sleep(chance.random() * 0.1)
        if child.returncode is None:
            child.kill()
        await child.communicate()
        found = await store.index.find(anna, wanted, 1_000)
        assert found.hits == [set(range(1, found.mark + 1))] * 2
        assert not found.unsure
        marks.append(found.mark)
    assert marks == sorted(marks)
    (await caught_up(store)).close()
    found = await store.index.find(anna, wanted, 1_000)
    assert found.mark == 400
    assert found.hits == [set(range(1, 401))] * 2
    await store.close()
