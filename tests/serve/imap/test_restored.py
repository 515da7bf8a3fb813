"""What is removed by IMAP is kept, and what comes back appears as new mail, in sessions that are open too."""

from contextlib import AsyncExitStack

import pytest

from household import ANNA, BEN
from posthouse.mail.ids import AccountId, Millis
from posthouse.serve.login import Door
from posthouse.store import accounts, gc, restore
from posthouse.transport.house import House
from posthouse.transport.retention import bring_back
from serve.imap.dialogue import Client, connect

LATER = 3_600_000


async def anna(house: House) -> AccountId:
    login = await house.store.read(accounts.find_login, ANNA)
    assert login is not None
    return login.account


async def restored(house: House) -> list[tuple[str, str, int]]:
    """Bring everything back; from which mailbox, removed by whom, how many."""
    account = await anna(house)
    while await house.store.run(gc.purge):
        pass
    told = []
    for act in await house.store.read(restore.acts, account):
        uids = [row.uid for row in await house.store.read(restore.kept, act.id, 1 << 32)]
        back = await house.store.run(bring_back, act, account, uids, Millis(house.clock() + LATER))
        assert back is not None
        told.append((act.name, act.agent, len(back.uids)))
    return told


async def expunge(client: Client) -> None:
    await client.do("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.do("EXPUNGE")


async def uid_expunge(client: Client) -> None:
    await client.do("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.do("UID EXPUNGE 1")


async def close(client: Client) -> None:
    await client.do("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.do("CLOSE")


async def replace(client: Client) -> None:
    message = b"Subject: draft 2\r\n\r\nx"
    await client.do(b"REPLACE 1 INBOX {%d+}\r\n%b" % (len(message), message))


@pytest.mark.parametrize("way", [expunge, uid_expunge, close, replace])
async def test_every_way_to_remove_is_kept(house: House, door: Door, way: object) -> None:
    async with connect(house, door) as client:
        await client.do('ID ("name" "Tester" "version" "7")')
        await client.append(flags="\\Seen blue")
        await client.do("SELECT INBOX")
        [before] = await client.do("FETCH 1 (EMAILID THREADID INTERNALDATE FLAGS)")
        assert callable(way)
        await way(client)
        assert await restored(house) == [("INBOX", "anna@home.test by IMAP from 127.0.0.1 Tester 7", 1)]
        await client.do("SELECT INBOX")
        lines = await client.do("UID FETCH 1:* (EMAILID THREADID INTERNALDATE FLAGS)")
        assert before.partition(b"(")[2].removesuffix(b")") in lines[-1]


async def test_it_arrives_in_sessions_that_are_open(house: House, door: Door) -> None:
    async with AsyncExitStack() as stack:
        client, other, idle = [await stack.enter_async_context(connect(house, door)) for _ in range(3)]
        await client.append()
        for one in (client, other, idle):
            await one.do("SELECT INBOX")
        await expunge(client)
        tag = idle.write("IDLE")
        assert (await idle.response()).startswith(b"+")
        assert await idle.response() == b"* 1 EXPUNGE"
        assert await other.do("NOOP") == [b"* 1 EXPUNGE"]
        await restored(house)
        assert await idle.response() == b"* 1 EXISTS"
        idle.writer.write(b"DONE\r\n")
        await idle.until(tag)
        assert b"* 1 EXISTS" in await other.do("NOOP")
        [line] = await other.do("FETCH 1 (UID FLAGS SAVEDATE)")
        assert b"UID 2" in line
        assert b"\\Deleted" not in line


async def test_a_deleted_mailbox_comes_back(house: House, door: Door) -> None:
    async with connect(house, door) as client:
        await client.do("CREATE Work")
        await client.append(mailbox="Work")
        await client.append(mailbox="Work")
        await client.do("DELETE Work")
        assert await restored(house) == [("Work", "anna@home.test by IMAP from 127.0.0.1", 2)]
        assert await client.do("STATUS Work (MESSAGES)") == [b"* STATUS Work (MESSAGES 2)"]


async def test_what_is_moved_is_not_deleted(house: House, door: Door) -> None:
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        await client.do("MOVE 1 Trash")
        assert await restored(house) == []


async def test_search_finds_it_only_where_it_is(house: House, door: Door) -> None:
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        await expunge(client)
        assert await client.do("SEARCH TEXT afternoon") == [b"* SEARCH"]
        await restored(house)
        await client.do("NOOP")
        assert await client.do("UID SEARCH TEXT afternoon") == [b"* SEARCH 2"]


async def test_what_a_guest_moves_to_their_own_comes_back_to_the_owner(house: House, door: Door) -> None:
    """What the owner moves there does not: it is where the owner wants it."""
    async with connect(house, door) as owner, connect(house, door, user=str(BEN)) as guest:
        await owner.append()
        await owner.do("SETACL INBOX ben@work.test lrite")
        await guest.do('SELECT "Other Users/anna@home.test/INBOX"')
        await guest.do("MOVE 1 INBOX")
        assert await restored(house) == [("INBOX", "ben@work.test by IMAP from 127.0.0.1", 1)]
        await guest.do("SETACL INBOX anna@home.test lrite")
        await owner.do("SELECT INBOX")
        await owner.do('MOVE 1 "Other Users/ben@work.test/INBOX"')
        assert await restored(house) == []
