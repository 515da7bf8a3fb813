"""NOTIFY (RFC 5465): what is told, what is not, by which worker, and what it may cost."""

import asyncio
import re

import pytest

from household import ANNA, BEN, PASSWORD
from posthouse.serve.imap import notify
from posthouse.store import accounts, mailboxes
from posthouse.store.script import sql
from posthouse.store.store import Store
from serve.imap.dialogue import connect

QUIET = 0.4  # seconds, more than notify.PACE


async def silent(client) -> bool:
    """Whether nothing more is said."""
    try:
        async with asyncio.timeout(QUIET):
            line = await client.reader.readline()
    except TimeoutError:
        return True
    raise AssertionError(line)


async def test_flags_are_told_only_to_who_asked(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await other.append()
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected (MessageNew MessageExpunge))")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS (\\Seen)")
        assert await silent(client)
        assert await client.do("NOOP") == []
        assert await client.do("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Seen))"]
        await client.do("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
        await other.do("STORE 1 -FLAGS (\\Seen)")
        assert await client.response() == b"* 1 FETCH (UID 1 FLAGS ())"


async def test_without_the_selected_mailbox_nothing_of_it_is_told_and_numbers_stay(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        for _ in range(3):
            await other.append()
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (personal (MailboxName))")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        await other.append()
        assert await silent(client)
        assert await client.do("NOOP") == []
        assert await client.do("FETCH 2:3 UID") == [b"* 2 FETCH (UID 2)", b"* 3 FETCH (UID 3)"]
        assert await client.do("NOTIFY SET (selected (MessageNew MessageExpunge))") == [b"* 1 EXPUNGE", b"* 3 EXISTS"]
        await client.do("NOTIFY NONE")
        await other.append()
        client.write("IDLE")
        assert (await client.response()).startswith(b"+ ")
        assert await silent(client)


async def test_with_qresync_and_condstore(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("ENABLE QRESYNC")
        await other.append()
        await other.append(mailbox="Archive")
        await client.do("SELECT INBOX")
        groups = "(selected (MessageNew (FLAGS) MessageExpunge FlagChange))"
        groups += " (mailboxes Archive (MessageNew MessageExpunge FlagChange))"
        await client.do("NOTIFY SET " + groups)
        await other.append()
        assert await client.response() == b"* 2 EXISTS"
        assert re.fullmatch(rb"\* 2 FETCH \(UID 2 MODSEQ \(\d+\) FLAGS \(\)\)", await client.response())
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert re.fullmatch(rb"\* 1 FETCH \(UID 1 MODSEQ \(\d+\) FLAGS \(\\Deleted\)\)", await client.response())
        await other.do("EXPUNGE")
        assert await client.response() == b"* VANISHED 1"
        await other.do("SELECT Archive")
        await other.do("STORE 1 +FLAGS (word)")
        found = await client.response()
        assert re.fullmatch(rb"\* STATUS Archive \(HIGHESTMODSEQ \d+ UIDVALIDITY \d+\)", found), found
        await other.do("STORE 1 +FLAGS (\\Seen)")
        found = await client.response()
        assert re.fullmatch(rb"\* STATUS Archive \(UNSEEN 0 HIGHESTMODSEQ \d+ UIDVALIDITY \d+\)", found), found


async def test_what_is_shown_of_new_messages_sets_no_flag_and_uidonly_has_uids(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("ENABLE UIDONLY")
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected (MessageNew (BODY[TEXT] PREVIEW FLAGS) MessageExpunge))")
        await other.append(b"A: 1\r\n\r\nword\r\n")
        assert await client.response() == b"* 1 EXISTS"
        found = await client.response()
        assert found.startswith(b"* 1 UIDFETCH (")
        assert b"word" in found
        assert b"FLAGS ()" in found
        assert await client.do("UID SEARCH SEEN") == [b"* SEARCH"]
        await client.do("UID COPY 1 INBOX")  # its own copy is no news
        assert await silent(client)


async def test_a_renamed_mailbox_is_told_once_with_all_below_it_and_one_made_again_by_its_uidvalidity(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        for name in ("One/Two/Three", "Again"):
            await other.do(f"CREATE {name}")
        await other.append(mailbox="Again")
        await client.do("NOTIFY SET (personal (MailboxName)) (mailboxes Again (MessageNew MessageExpunge FlagChange))")
        await other.do("RENAME One Ten")
        assert await client.response() == b'* LIST (\\HasChildren) "/" Ten ("OLDNAME" (One))'
        await other.do("DELETE Again")
        await other.do("CREATE Again")
        listed = [await client.response()]
        listed.append(await client.response())
        if b"NonExistent" in listed[0]:  # the two were told one after the other
            assert listed[1] == b'* LIST (\\HasNoChildren) "/" Again'
        else:
            assert listed[0] == b'* LIST (\\HasNoChildren) "/" Again'
            assert re.fullmatch(rb"\* STATUS Again \(UIDVALIDITY \d+ UIDNEXT 1 MESSAGES 0\)", listed[1])
        await other.do("RENAME INBOX Old")
        assert await client.response() == b'* LIST (\\HasNoChildren) "/" Old'


async def test_subscriptions_are_looked_up_again(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await other.do("CREATE News")
        await client.do("NOTIFY SET (subscribed (MessageNew MessageExpunge SubscriptionChange))")
        await other.append(mailbox="News")
        assert await silent(client)
        await other.do("SUBSCRIBE News")
        assert await client.response() == b'* LIST (\\HasNoChildren \\Subscribed) "/" News'
        assert (await client.response()).startswith(b"* STATUS News (")
        await other.append(mailbox="News")
        assert await client.response() == b"* STATUS News (UIDNEXT 3 MESSAGES 2)"
        await other.do("UNSUBSCRIBE News")
        assert await client.response() == b'* LIST (\\HasNoChildren) "/" News'


async def give(store, rights: str) -> None:
    """Ben may do this with Anna's INBOX."""
    login = await store.read(accounts.find_login, ANNA)
    row = await store.read(mailboxes.find, login.account, "INBOX")

    def write():
        yield sql("DELETE FROM access WHERE mailbox = $1", row.id)
        if rights:
            yield sql("INSERT INTO access (mailbox, identifier, rights) VALUES ($1, $2, $3)", row.id, str(BEN), rights)
        yield from mailboxes.next_modseq(login.account)

    await store.run(write)


async def test_mailboxes_of_others_need_their_rights(house, door, store):
    name = f'"Other Users/{ANNA}/INBOX"'
    ask = f"NOTIFY SET STATUS (mailboxes {name} (MessageNew MessageExpunge))"
    async with connect(house, door, user=str(BEN)) as client, connect(house, door) as other:
        assert await client.do(ask) == []  # as if there were none
        await give(store, "l")
        assert await client.do(ask) == [b'* LIST (\\NoAccess) "/" ' + name.encode()]
        await give(store, "lr")
        assert await client.response() == b'* LIST () "/" ' + name.encode()
        await other.append()
        assert await client.response() == b"* STATUS " + name.encode() + b" (UIDNEXT 2 MESSAGES 1)"
        await give(store, "")
        await silent(client)
        await other.append()
        assert await silent(client)


@pytest.mark.parametrize("lost", [False, True])
async def test_another_worker_tells_and_lost_hints_are_made_up_for(house, door, store, monkeypatch, lost):
    if lost:
        monkeypatch.setattr(notify, "LOOK", 0.2)
        monkeypatch.setattr(store, "watch", lambda account, callback: lambda: None)
    second = await Store.open(store.directory)
    try:
        async with connect(house, door) as client:
            await client.do("SELECT INBOX")
            await client.do("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MailboxName))")
            login = await second.read(accounts.find_login, ANNA)
            await second.run(mailboxes.create, login.account, "Elsewhere")
            assert await client.response() == b'* LIST (\\HasNoChildren) "/" Elsewhere'
            async with connect(
                type(house)(second, house.hostname, house.clock, allow_plaintext_login=True), door
            ) as far:
                await far.append()
                assert await client.response() == b"* 1 EXISTS"
    finally:
        await second.close()


async def test_too_much_is_refused_or_ends_it(house, door, monkeypatch):
    async with connect(house, door) as client, connect(house, door) as other:
        monkeypatch.setattr(notify, "WATCHED", 5)
        assert (await client.fails("NOTIFY SET (personal (MailboxName))")).startswith(b"NO [NOTIFICATIONOVERFLOW] ")
        monkeypatch.setattr(notify, "WATCHED", 6)
        await client.do("NOTIFY SET (personal (MailboxName))")
        await other.do("CREATE Seventh")
        assert (await client.response()).startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
        await other.do("CREATE Eighth")
        assert await silent(client)
        monkeypatch.setattr(notify, "SHOWN", 2)
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
        await other.do("APPEND INBOX" + " {6+}\r\nA: 1\r\n" * 3)
        assert await client.response() == b"* 3 EXISTS"
        assert (await client.response()).startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
        await other.append()
        assert await silent(client)


async def test_many_events_are_told_in_one_piece(house, door, monkeypatch):
    looks = []
    names = notify.listing.names
    monkeypatch.setattr(notify.listing, "names", lambda reader: looks.append(reader) or names(reader))
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("NOTIFY SET (inboxes (MessageNew MessageExpunge))")
        looks.clear()
        for _ in range(50):
            await other.append()
        found = b""
        while b"MESSAGES 50)" not in found:
            found = await client.response()
        assert len(looks) < 20


async def test_it_ends_with_the_user_and_with_the_connection(house, door, store):
    async with connect(house, door) as client, connect(house, door) as other:
        before = set(store._watchers)
        await client.do("NOTIFY SET (personal (MailboxName MessageNew MessageExpunge))")
        assert set(store._watchers) > before
        await client.do("UNAUTHENTICATE")
        assert set(store._watchers) == before  # the login of `other`
        await client.do(f'LOGIN {ANNA} "{PASSWORD}"')
        await other.do("CREATE More")
        assert await silent(client)
        await client.do("NOTIFY SET (personal (MailboxName))")
    assert not store._watchers


async def test_a_deleted_selected_mailbox(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("ENABLE IMAP4rev2")
        await other.do("CREATE Short")
        await client.do("SELECT Short")
        await client.do("NOTIFY SET (selected (MessageNew MessageExpunge))")
        await other.do("DELETE Short")
        assert (await client.response()).startswith(b"* OK [CLOSED] ")
        assert (await client.fails("FETCH 1 UID")).startswith(b"BAD ")


@pytest.mark.parametrize(
    "hostile",
    [
        "NOTIFY SET " + " ".join(["(personal NONE)"] * 200),
        "NOTIFY SET (mailboxes (" + " ".join(f"m{number}" for number in range(600)) + ") NONE)"
        " (subtree (" + " ".join(f"m{number}" for number in range(600)) + ") NONE)",
        "NOTIFY SET (selected (MessageNew (" + "UID " * 900 + "UID) MessageExpunge",
        "NOTIFY SET ((((((",
        "NOTIFY SET (subtree () NONE)",
        'NOTIFY SET (subtree "" (MailboxName) extra)',
        "NOTIFY SET (personal (MailboxName MailboxName))",
        "NOTIFY SET STATUS",
        "NOTIFY SETSTATUS (personal NONE)",
    ],
)
async def test_hostile_words_are_refused(house, door, hostile):
    async with connect(house, door) as client:
        assert (await client.fails(hostile)).startswith(b"BAD ")
        await client.do("NOOP")


async def test_the_first_mailbox_that_another_shares_is_told(house, door):
    async with connect(house, door) as client, connect(house, door, user=str(BEN)) as other:
        await client.do('NOTIFY SET (subtree ("Other Users") (MailboxName))')
        for _ in range(2):
            await other.do(f"SETACL INBOX {ANNA} lr")
            told = [await client.response() for _ in range(2)]
            assert told[1].endswith(b'"Other Users/ben@work.test/INBOX"')
            assert b"NonExistent" not in told[1]
            await other.do(f"DELETEACL INBOX {ANNA}")
            told = [await client.response() for _ in range(2)]
            assert all(b"NonExistent" in line for line in told)


async def test_changes_of_annotations_by_others_are_told(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await other.do('SETMETADATA INBOX (/shared/comment "before")')
        await client.do("NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
        await client.do('SETMETADATA Sent (/private/comment "mine")')
        await other.do('SETMETADATA INBOX (/private/comment "x" /shared/comment NIL)')
        assert await client.response() == b"* METADATA INBOX /shared/comment /private/comment"
        await asyncio.sleep(QUIET)
        await other.do('SETMETADATA "" (/private/vendor/example/a "x")')
        assert await client.response() == b'* METADATA "" /private/vendor/example/a'
        await client.do("NOTIFY SET (inboxes (MailboxName))")
        await other.do('SETMETADATA INBOX (/private/comment "y")')
        assert await silent(client)


async def test_entries_that_were_removed_are_forgotten_in_time(house, door):
    async with connect(house, door) as client:
        for start in range(0, 250, 50):
            names = [f"/private/n{number}" for number in range(start, start + 50)]
            await client.do("SETMETADATA INBOX (" + " ".join(f'{name} "x"' for name in names) + ")")
            await client.do("SETMETADATA INBOX (" + " ".join(f"{name} NIL" for name in names) + ")")
        [(kept,)] = await house.store.read(counted)
        assert kept <= 100


def counted():
    return (yield sql("SELECT count(*) FROM annotation"))
