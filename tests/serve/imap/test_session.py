"""serve/imap/session.py: time, endings and faults of whole connections; what transcripts cannot say."""

import asyncio
import logging
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from scramp import ScramClient

from fakes import WarpLoop
from household import ANNA, BEN, HELLO, HOSTNAME, INFO, NOW, credential, open_store
from posthouse.serve import standing
from posthouse.serve.imap import fetch, fetch_rows, session
from posthouse.serve.limits import ImapSessionLimits, PeerLimits, Peers
from posthouse.serve.login import Door
from posthouse.store import accounts, aliases, emails, mailboxes, removed_users
from posthouse.store.script import Unavailable
from posthouse.store.store import Store
from posthouse.transport.house import House
from posthouse.wire.imap.server import LEGAL
from serve.imap.dialogue import MESSAGE, connect


def test_every_command_that_is_legal_has_an_answer():
    """APPEND comes as LiteralAnnounced, IDLE has its own loop, DONE belongs to it."""
    legal = frozenset[type]().union(*LEGAL.values())
    apart = {session.commands.Append, session.commands.Done, session.commands.Idle}
    assert set(session.ANSWERS) == legal - apart


async def test_a_client_that_breaks_its_word_is_not_offered_uidonly_again(house, door):
    """As Outlook (Microsoft 365) does; docs/quirks.md."""
    async with connect(house, door) as first, connect(house, door) as other:
        await first.append()
        assert await first.do("ENABLE UIDONLY") == [b"* ENABLED UIDONLY"]
        await first.do("SELECT INBOX")
        assert (await first.fails("FETCH 1:* (UID FLAGS)")).startswith(b"BAD [UIDREQUIRED]")
        await first.do("UID FETCH 1:* (FLAGS)")  # what was enabled stays
        [line] = await other.do("CAPABILITY")
        assert b" UIDONLY" not in line
        assert b" UIDBATCHES" in line
        assert await other.do("ENABLE UIDONLY") == [b"* ENABLED"]
        await other.do("SELECT INBOX")
        assert await other.do("FETCH 1:* (UID)") == [b"* 1 FETCH (UID 1)"]
    async with connect(house, door, user=str(BEN)) as somebody_else:
        assert await somebody_else.do("ENABLE UIDONLY") == [b"* ENABLED UIDONLY"]


async def test_a_withheld_capability_is_neither_announced_nor_enabled(house, door):
    async with connect(replace(house, withheld=frozenset({"UIDONLY"})), door) as client:
        [line] = await client.do("CAPABILITY")
        assert b" UIDBATCHES " in line
        assert b"UIDONLY" not in line
        assert await client.do("ENABLE UIDONLY CONDSTORE") == [b"* ENABLED CONDSTORE"]
        await client.append()
        await client.do("SELECT INBOX")
        await client.do("FETCH 1 FLAGS")


async def test_a_stranger_has_a_minute_whatever_they_say(house, door):
    async with connect(house, door, user=None, limits=ImapSessionLimits(before_login_seconds=0.5)) as client:
        await client.do("NOOP")
        assert await client.response() == b"* BYE Nothing came for too long; goodbye."
        assert await client.closed()


async def test_a_user_who_is_silent_too_long_is_told_so(house, door):
    async with connect(house, door, limits=ImapSessionLimits(idle_seconds=0.5)) as client:
        assert await client.response() == b"* BYE Nothing came for too long; goodbye."
        assert await client.closed()


@pytest.mark.parametrize("change", ["password", "remove"])
@pytest.mark.parametrize("command", ["NOOP", "IDLE"])
async def test_a_login_that_was_changed_or_removed_ends(house, door, store, monkeypatch, command, change):
    monkeypatch.setattr(standing, "VOUCH_SECONDS", 0.0)
    async with connect(house, door) as client:
        await client.do("SELECT INBOX")
        if command == "IDLE":
            client.write("IDLE")
            assert (await client.response()).startswith(b"+ ")
        if change == "password":
            await store.run(accounts.set_password, ANNA, credential("another"))
        else:
            for alias in (INFO, HELLO):
                await store.run(aliases.remove_alias, alias)
            await store.run(accounts.remove_account, ANNA)
        if command == "NOOP":
            client.write("NOOP")
        assert await client.response() == b"* BYE This login has been changed or removed; log in again."
        assert await client.closed()


async def test_a_user_who_is_removed_and_comes_back(house, door, store, monkeypatch):
    """Who has a mailbox of theirs open finds it gone, as a deleted one; then all is as it was (decision 0139)."""
    monkeypatch.setattr(standing, "VOUCH_SECONDS", 0.0)
    shared = '"Other Users/anna@home.test/INBOX"'
    for alias in (INFO, HELLO):
        await store.run(aliases.remove_alias, alias)
    async with connect(house, door) as anna, connect(house, door, user="ben@work.test") as ben:
        await anna.append()
        await anna.do("SETACL INBOX ben@work.test lrs")
        await ben.do(f"SUBSCRIBE {shared}")
        before = await ben.do(f"SELECT {shared}")
        await store.run(removed_users.set_aside, ANNA, NOW)
        assert await anna.response() == b"* BYE This login has been changed or removed; log in again."
        ben.write("FETCH 1 FLAGS")
        assert (await ben.response()).startswith(b"* BYE The selected mailbox was deleted")
    async with connect(house, door, user="ben@work.test") as ben:
        await ben.fails(f"STATUS {shared} (MESSAGES)")
        assert await ben.do('LIST (SUBSCRIBED) "" "Other Users/*"') == []
    [one] = await store.read(removed_users.list_removed)
    await store.run(removed_users.bring_back, one.account, ANNA)
    async with connect(house, door, user="ben@work.test") as ben:
        assert [row for row in await ben.do(f"SELECT {shared}") if b"MODSEQ" not in row] == [
            row for row in before if b"MODSEQ" not in row
        ]
        assert len(await ben.do('LIST (SUBSCRIBED) "" "Other Users/*"')) == 1
    async with connect(house, door) as anna:
        await anna.do("SELECT INBOX")
        assert (await anna.do("FETCH 1 BODY.PEEK[]"))[0].endswith(b")")


async def test_a_login_is_looked_at_once_a_second(house, door, store, monkeypatch):
    looks = []

    async def holds(login):
        looks.append(login)
        return True

    monkeypatch.setattr(door, "holds", holds)
    async with connect(house, door) as client:
        for _ in range(10):
            await client.do("NOOP")
        assert len(looks) <= 1
        await asyncio.sleep(standing.VOUCH_SECONDS)
        await client.do("NOOP")
        assert 1 <= len(looks) <= 2


async def test_every_login_and_refusal_is_in_the_log(house, door, caplog):
    caplog.set_level(logging.INFO, "posthouse.login")
    door.peers = Peers(PeerLimits(imap_connections_of_user=1, refusal_seconds=0.0))
    async with connect(house, door), connect(house, door, user=None) as client:
        await client.fails("LOGIN anna@home.test wrong")
        await client.fails('LOGIN anna@home.test "correct horse"')
    lines = [(r.getMessage(), vars(r).get("reason")) for r in caplog.records]
    assert lines == [
        ("logged in", None),
        ("login refused", "wrong user name or password"),
        ("login refused", "too many connections"),
    ]
    for record in caplog.records:
        fields = vars(record)
        assert (fields["peer"], fields["user"], fields["protocol"]) == ("127.0.0.1", "anna@home.test", "imap")


async def test_idle_ends_after_the_same_time(house, door):
    async with connect(house, door, limits=ImapSessionLimits(idle_seconds=0.5)) as client:
        client.write("IDLE")
        assert (await client.response()).startswith(b"+ ")
        assert await client.response() == b"* BYE Nothing came for too long; goodbye."


@pytest.mark.parametrize("idle", [False, True])
async def test_a_draining_worker_says_bye(house, door, idle):
    async with connect(house, door) as client:
        await client.do("SELECT INBOX")
        if idle:
            client.write("IDLE")
            assert (await client.response()).startswith(b"+ ")
        client.link.drain()
        assert await client.response() == b"* BYE The server is closing down; connect again in a moment."
        assert await client.closed()


async def test_a_cancelled_session_says_bye(house, door):
    async with connect(house, door) as client:
        client.task.cancel()
        assert (await client.response()).startswith(b"* BYE The server is closing down")


async def test_a_fault_of_ours_is_logged_once_and_not_told(house, door, monkeypatch, caplog):
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(session.ANSWERS, session.commands.Namespace, broken)
    with caplog.at_level(logging.ERROR):
        async with connect(house, door) as client:
            answer = await client.fails("NAMESPACE")
            assert answer.startswith(b"NO [SERVERBUG] ")
            bye = await client.response()
            assert bye.startswith(b"* BYE [SERVERBUG] ")
            assert await client.closed()
    assert b"secret" not in answer + bye
    assert b"Zero" not in answer + bye
    assert len(caplog.records) == 1


async def test_a_store_that_cannot_answer_is_said_and_the_session_lives(house, door, monkeypatch):
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")

        def full(*_: object) -> None:
            raise Unavailable("disk full")
            yield

        with monkeypatch.context() as patch:
            patch.setattr(emails, "store_flags", full)
            assert (await client.fails("STORE 1 +FLAGS \\Seen")).startswith(b"NO [UNAVAILABLE] ")
            patch.setattr(emails, "add", full)
            assert (await client.fails(b"APPEND INBOX {3+}\r\nA:1")).startswith(b"NO [UNAVAILABLE] ")
        assert await client.do("STORE 1 +FLAGS \\Seen") == [b"* 1 FETCH (FLAGS (\\Seen))"]


async def test_one_user_has_so_many_connections_from_one_address(house, store):
    door = Door(store, Peers(PeerLimits(imap_connections_of_user=1)), secret=b"s" * 32)
    async with connect(house, door), connect(house, door, user=None) as client:
        assert (await client.fails('LOGIN anna@home.test "correct horse"')).startswith(b"NO [LIMIT] ")
    async with connect(house, door):
        pass
    door.close()


async def test_one_address_has_so_many_connections(house, store):
    door = Door(store, Peers(PeerLimits(imap_connections=1)), secret=b"s" * 32)
    async with connect(house, door, user=None), connect(house, door, user=None) as client:
        assert client.greeting.startswith(b"* BYE [LIMIT] Too many connections")
        assert await client.closed()
    door.close()


async def test_a_client_that_hangs_up_in_the_middle_of_anything(house, door):
    for unfinished in (b"t1 APPEND INBOX {99+}\r\nhalf", b"t1 AUTHENTICATE PLAIN\r\n", b"t1 IDLE\r\n", b"t1 NO"):
        user = None if b"AUTH" in unfinished else "anna@home.test"
        async with connect(house, door, user=user) as client:
            client.writer.write(unfinished)
            await client.writer.drain()
            await asyncio.sleep(0.02)
    async with connect(house, door) as client:
        assert await client.do("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_a_sasl_line_without_end_is_cut_off(house, door):
    async with connect(house, door, user=None) as client:
        client.writer.write(b"t1 AUTHENTICATE PLAIN\r\n" + b"A" * 100_000)
        assert (await client.response()).startswith(b"+ ")
        assert (await client.response()).startswith(b"* BYE ")


async def test_idle_is_woken_within_milliseconds(house, door):
    loop = asyncio.get_running_loop()
    waits = []
    async with connect(house, door) as idler, connect(house, door) as other:
        await idler.do("SELECT INBOX")
        idler.write("IDLE")
        await idler.response()
        for number in range(1, 22):
            await other.append()
            committed = loop.time()
            assert await idler.response() == b"* %d EXISTS" % number
            waits.append(loop.time() - committed)
    assert sorted(waits)[10] < 0.010


async def test_a_mailbox_of_many_messages_is_answered_in_pieces(house, door, monkeypatch):
    monkeypatch.setattr(fetch, "ROWS", 7)
    monkeypatch.setattr(fetch, "WITH_CONTENTS", 7)
    monkeypatch.setattr(fetch_rows, "ROWS", 7)
    monkeypatch.setattr(fetch_rows, "WITH_CONTENTS", 7)
    async with connect(house, door) as client:
        for _ in range(30):
            await client.append()
        await client.do("SELECT INBOX")
        await client.do("STORE 4,9:11 +FLAGS.SILENT \\Deleted")
        await client.do("EXPUNGE")
        assert await client.do("FETCH 1:* UID") == [
            b"* %d FETCH (UID %d)" % (number, uid)
            for number, uid in enumerate([u for u in range(1, 31) if u not in (4, 9, 10, 11)], 1)
        ]
        assert len(await client.do("FETCH 2,4:26 BODY.PEEK[]")) == 24
        assert len(await client.do("UID FETCH 3:5,29:* (UID BODY.PEEK[HEADER])")) == 4


async def test_large_messages_wait_in_a_file_and_are_read_by_ranges(house, door):
    small = replace(house, limits=replace(house.limits, spool_above=1_000))
    line = b"x" * 998 + b"\r\n"
    body = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n\r\n"
        + line * 1_500
        + b"--b--\r\n"
    )
    async with connect(small, door) as client:
        await client.append(body)
        await client.do("SELECT INBOX")
        (whole,) = await client.do("FETCH 1 BODY.PEEK[]")
        assert whole == b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(body), body)
        (part,) = await client.do("FETCH 1 (BODY.PEEK[1] BODY.PEEK[2]<999.3> BODY.PEEK[]<10.4> BINARY.SIZE[2])")
        size = len(line) * 1_500 - 2
        expected = b"BODY[1] {5}\r\nfirst BODY[2]<999> {3}\r\n\nxx BODY[]<10> {4}\r\n%b BINARY.SIZE[2] %d)"
        assert part == b"* 1 FETCH (" + expected % (body[10:14], size)
        assert len((await client.do("FETCH 1 BODY"))[0]) > 50
        assert await client.do("SEARCH BODY xxxx") == [b"* SEARCH 1"]


async def test_others_changes_reach_a_client_that_only_ever_says_noop(house, door):
    async with connect(house, door) as one, connect(house, door) as two:
        await one.do("SELECT INBOX")
        await two.append(flags="\\Seen")
        assert await one.do("NOOP") == [b"* 1 EXISTS"]
        await two.do("SELECT INBOX")
        await two.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert await one.do("NOOP") == [b"* 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen))"]
        await two.do("CLOSE")
        assert await one.do("NOOP") == [b"* 1 EXPUNGE"]
        assert await one.do("NOOP") == []


async def test_copies_in_one_mailbox_share_their_flags_and_the_client_is_told(house, door):
    """Decision 0021: keywords belong to the Email."""
    async with connect(house, door) as client:
        await client.append()
        await client.append()
        await client.do("SELECT INBOX")
        await client.do("COPY 1 INBOX")
        told = await client.do("STORE 1 +FLAGS.SILENT (\\Flagged)")
        assert told == [b"* 3 FETCH (UID 3 FLAGS (\\Flagged))"]


async def test_sessions_share_one_column_of_uids(house, door, store, monkeypatch):
    async with connect(house, door) as one, connect(house, door) as two:
        for _ in range(3):
            await one.append()
        reads = []
        original = emails.uids
        monkeypatch.setattr(emails, "uids", lambda box: reads.append(box) or original(box))
        for client in (one, two):
            await client.do("SELECT INBOX")
            assert len(await client.do("FETCH 1:* UID")) == 3
        assert len(reads) == 1


async def test_select_reads_no_uids_of_a_large_mailbox(house, door, monkeypatch):
    monkeypatch.setattr("posthouse.serve.imap.mailboxes.UNSEEN_COUNTED", 2)
    async with connect(house, door) as client:
        for _ in range(3):
            await client.append()
        monkeypatch.setattr(emails, "uids", None)
        assert not [line for line in await client.do("SELECT INBOX") if b"UNSEEN" in line]


async def test_a_name_is_normalized_and_said_so(house, door):
    """RFC 9051 §6.3.9.7."""
    async with connect(house, door) as client:
        await client.do("ENABLE IMAP4rev2")
        told = await client.do('CREATE "Gro\u0308\u00dfe"')
        assert told == ['* LIST () "/" "Größe" ("OLDNAME" ("Gro\u0308ße"))'.encode()]
        told = await client.do('APPEND "Gro\u0308ße" {6+}\r\nA: 1\r\n')
        assert told == ['* LIST () "/" "Größe" ("OLDNAME" ("Gro\u0308ße"))'.encode()]
        told = await client.do('SELECT "Gro\u0308ße"')
        assert '* LIST (\\HasNoChildren) "/" "Größe" ("OLDNAME" ("Gro\u0308ße"))'.encode() in told
        assert b"* 1 EXISTS" in told
        told = await client.do('SELECT "Größe"')
        assert '* LIST (\\HasNoChildren) "/" "Größe"'.encode() in told
        assert await client.do('RENAME "Größe" "e\u0301"') == ['* LIST () "/" "é" ("OLDNAME" ("Größe"))'.encode()]
        assert await client.do('RENAME "e\u0301" x') == ['* LIST () "/" x ("OLDNAME" ("e\u0301"))'.encode()]
        assert await client.do("RENAME x y") == []
        await client.do('CREATE "é"')
        told = await client.do('DELETE "e\u0301"')
        assert told == ['* LIST (\\NonExistent) "/" "é" ("OLDNAME" ("e\u0301"))'.encode()]


def test_idle_looks_by_itself_once_a_minute(tmp_path, monkeypatch):
    """Hints may be lost (house.md §5.8)."""
    monkeypatch.setattr(Store, "watch", lambda store, account, callback: lambda: None)

    async def run(loop: WarpLoop) -> None:
        store = await open_store(tmp_path / "store")
        door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32)
        house = House(store, HOSTNAME, lambda: NOW, allow_plaintext_login=True)
        async with connect(house, door) as idler, connect(house, door) as other:
            await idler.do("SELECT INBOX")
            idler.write("IDLE")
            await idler.response()
            await other.append(MESSAGE)
            loop.warp(61)
            assert await idler.response() == b"* 1 EXISTS"
        door.close()
        await store.close()

    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, WarpLoop)
        runner.run(run(loop))


async def test_mailboxes_of_others_are_out_of_reach(house, door, store):
    """S29 of limits.md: the same questions by two users."""
    async with connect(house, door) as anna, connect(house, door, user="ben@work.test") as ben:
        await anna.append()
        for client, total in ((anna, 1), (ben, 0), (anna, 1), (ben, 0)):
            assert b"* %d EXISTS" % total in await client.do("SELECT INBOX")
            assert len(await client.do("UID FETCH 1:* FLAGS")) == total
        assert not await store.read(mailboxes.list_subscribed, 999_999)


async def test_a_mailbox_that_goes_while_its_client_idles(house, door):
    async with connect(house, door) as idler, connect(house, door) as other:
        await idler.do("ENABLE IMAP4rev2")
        await idler.do("CREATE Short")
        await idler.do("SELECT Short")
        tag = idler.write("IDLE")
        await idler.response()
        await other.do("DELETE Short")
        assert (
            await idler.response()
            == b"* OK [CLOSED] The selected mailbox was deleted, or is no longer shared with you."
        )
        idler.writer.write(b"DONE\r\n")
        await idler.until(tag)
        assert idler.last == b"OK IDLE completed."
        assert (await idler.fails("SEARCH ALL")).startswith(b"BAD")


async def test_a_mailbox_that_goes_between_two_commands(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("ENABLE IMAP4rev2")
        await client.append(mailbox="Archive")
        await client.do("SELECT Archive")
        await other.do("DELETE Archive")
        tag = client.write("EXPUNGE")
        assert (
            b"* OK [CLOSED] The selected mailbox was deleted, or is no longer shared with you."
            in await client.until(tag)
        )
        assert client.last.startswith(b"NO [NONEXISTENT] ")


async def test_a_transfer_encoding_nobody_knows(house, door):
    """RFC 3516 §4.3."""
    async with connect(house, door) as client:
        await client.append(b"Content-Transfer-Encoding: x-strange\r\n\r\nhello\r\n")
        await client.do("SELECT INBOX")
        assert (await client.fails("FETCH 1 BINARY.PEEK[1]")).startswith(b"NO [UNKNOWN-CTE] ")
        assert await client.do("FETCH 1 BINARY.PEEK[7]") == [b"* 1 FETCH (BINARY[7] NIL)"]
        assert await client.do("FETCH 1 BINARY.PEEK[7]<1.2>") == [b"* 1 FETCH (BINARY[7]<1> NIL)"]
        assert await client.do("FETCH 1 BINARY.SIZE[7]") == [b"* 1 FETCH (BINARY.SIZE[7] 0)"]


async def test_scram(house, door):
    """RFC 5802 §5 over AUTHENTICATE, with another library's client."""
    mechanism = ScramClient(["SCRAM-SHA-256"], "anna@home.test", "correct horse")
    async with connect(house, door, user=None) as client:
        tag = client.write(b"AUTHENTICATE SCRAM-SHA-256 " + b64encode(mechanism.get_client_first().encode()))
        mechanism.set_server_first(b64decode((await client.response())[2:]).decode())
        client.writer.write(b64encode(mechanism.get_client_final().encode()) + b"\r\n")
        mechanism.set_server_final(b64decode((await client.response())[2:]).decode())
        client.writer.write(b"\r\n")
        await client.until(tag)
        assert client.last.startswith(b"OK [CAPABILITY ")
