"""News: many idle sessions on one mailbox cost the store one question, and nobody is told less (RFC 9051 §6.3.13)."""

import asyncio
from contextlib import AsyncExitStack

from household import ANNA
from posthouse.serve.imap import news, state
from posthouse.store import accounts, emails, mailboxes
from serve.imap.dialogue import connect


async def test_one_change_is_read_once_for_all_idle_sessions(house, door, store, monkeypatch):
    reads = []
    looks = []
    holds, reading = door.holds, store.reading

    async def counted(login):
        looks.append(login)
        return await holds(login)

    def seen(verb, *args):
        reads.append(verb)
        return reading(verb, *args)

    monkeypatch.setattr(door, "holds", counted)
    monkeypatch.setattr(store, "reading", seen)
    monkeypatch.setattr(state, "VOUCH_SECONDS", 0.0)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(house, door)) for _ in range(20)]
        writer, *watchers = clients
        for client in watchers:
            await client.do("SELECT INBOX")
            client.write("IDLE")
            assert (await client.response()).startswith(b"+ ")
        await asyncio.sleep(0.1)
        for count in range(1, 4):
            reads.clear()
            looks.clear()
            await writer.append()
            for client in watchers:
                assert await client.response() == b"* %d EXISTS" % count
            assert reads.count(emails.changes) == 1
            assert len(looks) <= 3
        watchers[0].writer.close()  # one that goes takes nothing from the others
        await writer.do("SELECT INBOX")
        await writer.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await writer.do("EXPUNGE")
        for client in watchers[1:]:
            assert await client.response() == b"* 1 FETCH (UID 1 FLAGS (\\Deleted))"
            assert await client.response() == b"* 1 EXPUNGE"


async def test_who_ends_takes_no_answer_away_and_little_is_remembered(house, door, store, monkeypatch):
    monkeypatch.setattr(news, "KEPT", 3)
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        shared = news.news_of(store)
        row = await inbox(store)
        one = asyncio.create_task(shared.changes(store, (row.box, row.modseq, 1, 5)))
        two = asyncio.create_task(shared.changes(store, (row.box, row.modseq, 1, 5)))
        await asyncio.sleep(0)
        one.cancel()
        assert len((await two).arrived) == 1
        for hint in range(10):
            await shared.changes(store, (row.box, row.modseq, 1, hint))
        assert len(shared._asked) <= 3


async def inbox(store):
    login = await store.read(accounts.find_login, ANNA)
    return await store.read(mailboxes.find, login.account, "INBOX")
