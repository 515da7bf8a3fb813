"""News: many idle sessions on one mailbox cost the store one question, and nobody is told less (RFC 9051 §6.3.13)."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from household import ANNA
from posthouse.serve import standing
from posthouse.serve.imap import news
from posthouse.store import accounts, emails, mailboxes
from posthouse.store.script import Unavailable
from serve.imap.dialogue import MESSAGE, connect
from store_rig import new_email


async def test_one_change_is_read_once_for_all_idle_sessions(house, door, store, monkeypatch):
    reads = []
    looks = []
    holds, reading = door.holds, store.reading

    async def counted(login):
        looks.append(login)
        return await holds(login)

    def seen(verb, *args, **named):
        reads.append(verb)
        return reading(verb, *args, **named)

    monkeypatch.setattr(door, "holds", counted)
    monkeypatch.setattr(store, "reading", seen)
    monkeypatch.setattr(standing, "VOUCH_SECONDS", 0.0)
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


async def test_who_waits_gets_the_error_too_and_who_has_gone_nothing():
    loop = asyncio.get_running_loop()
    asked = news.Shared(loop.create_future())
    several = [asyncio.create_task(asked.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    several[1].cancel()
    await asyncio.sleep(0)
    asked.answer.set_exception(Unavailable("the store is closing"))
    found = await asyncio.gather(*several, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable, asyncio.CancelledError, Unavailable]
    with pytest.raises(Unavailable):
        await asked.wait()


async def test_what_many_are_woken_for_is_asked_while_their_login_is_looked_at(house, door, store, monkeypatch):
    """Nothing is told of it before the login was seen to hold."""
    monkeypatch.setattr(standing, "VOUCH_SECONDS", 0.0)
    asked, looked = asyncio.Event(), asyncio.Event()
    reading = store.reading

    async def gone(login):
        await looked.wait()
        return False

    def seen(verb, *args, **named):
        if verb is emails.changes:
            asked.set()
        return reading(verb, *args, **named)

    async with connect(house, door) as idler:
        await idler.do("SELECT INBOX")
        idler.write("IDLE")
        assert (await idler.response()).startswith(b"+ ")
        await asyncio.sleep(0.1)
        monkeypatch.setattr(store, "reading", seen)
        monkeypatch.setattr(door, "holds", gone)
        await store.run(emails.add, (await inbox(store)).box, [new_email(store, MESSAGE)])
        await asyncio.wait_for(asked.wait(), 60)
        looked.set()
        assert (await idler.response()).startswith(b"* BYE")


async def inbox(store):
    login = await store.read(accounts.find_login, ANNA)
    return await store.read(mailboxes.find, login.account, "INBOX")
