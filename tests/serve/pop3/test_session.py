"""serve/pop3: what one session does, beside others, with mail large and small (RFC 1939, RFC 2449, RFC 5034)."""

import asyncio
import gc
import random
from base64 import b64decode, b64encode
from types import SimpleNamespace

import msgspec
import pytest

from household import ANNA, BEN, credential
from posthouse.serve.pop3 import expire as pop3_expire
from posthouse.serve.pop3 import maildrop
from posthouse.store import accounts, emails, expiry, restore
from posthouse.store.blobs import INLINE_SIZE
from posthouse.store.emails import Column
from posthouse.store.script import Unavailable
from posthouse.wire.scram_client import ScramClient
from serve.imap.dialogue import connect as connect_imap
from serve.pop3.dialogue import LETTER, connect, fill, inbox_of, uids


async def test_mail_that_comes_later_is_for_the_next_session(house, door, store):
    """RFC 1939 §5: what is there is settled at the login."""
    await fill(store, LETTER % 1)
    async with connect(house, door) as client:
        await fill(store, LETTER % 2)
        assert await client.say("STAT") == b"+OK 1 %d" % len(LETTER % 1)
        assert await client.say("RETR 2") == b"-ERR There is no such message"
    async with connect(house, door) as client:
        assert (await client.say("STAT")).startswith(b"+OK 2 ")
        assert await client.lines("RETR 2") == LETTER % 2


async def test_what_imap_removed_is_gone_and_keeps_its_number(house, door, store):
    await fill(store, *(LETTER % n for n in range(1, 5)))
    async with connect(house, door) as client, connect_imap(house, door) as other:
        listed = await client.lines("UIDL")
        assert await client.lines("RETR 1") == LETTER % 1
        assert await client.lines("RETR 2") == LETTER % 2  # 3 and 4 are read ahead now
        await other.do("SELECT INBOX")
        await other.do(r"STORE 3 +FLAGS.SILENT (\Deleted)")
        await other.do("EXPUNGE")
        assert await client.say("RETR 3") == b"-ERR That message was removed by another program meanwhile"
        assert await client.say("TOP 3 0") == b"-ERR That message was removed by another program meanwhile"
        assert await client.say("LIST 3") == b"-ERR That message was removed by another program meanwhile"
        assert [line[:1] for line in (await client.lines("LIST")).splitlines()] == [b"1", b"2", b"4"]
        assert await client.lines("RETR 4") == LETTER % 4
        assert await client.lines("UIDL") == listed
        assert await client.say("DELE 3") == b"+OK It will be removed at QUIT"
        assert await client.say("QUIT") == b"+OK Goodbye"
    assert await store.read(uids, await inbox_of(store)) == [1, 2, 4]


async def test_what_pop3_removed_imap_hears_of(house, door, store):
    box = await fill(store, *(LETTER % n for n in range(1, 4)))
    async with connect(house, door) as client, connect_imap(house, door) as other:
        await other.do("SELECT INBOX")
        for number in (1, 3):
            await client.say(f"DELE {number}")
        assert b"* 1 EXPUNGE" not in await other.do("NOOP")
        assert await client.say("STAT") == b"+OK 1 %d" % len(LETTER % 2)
        assert await client.say("QUIT") == b"+OK Goodbye"
        assert sorted(await other.do("NOOP")) == [b"* 1 EXPUNGE", b"* 3 EXPUNGE"]
    assert await store.read(uids, box) == [2]


async def test_nothing_is_removed_unless_quit_is_said(house, door, store):
    """RFC 1939 §6."""
    box = await fill(store, LETTER % 1)
    async with connect(house, door) as client:
        await client.say("DELE 1")
    assert await store.read(uids, box) == [1]


async def expire(client):
    """What CAPA says of EXPIRE."""
    [word] = [line for line in (await client.lines("CAPA")).splitlines() if line.startswith(b"EXPIRE")]
    return word


async def test_expire_is_the_rule_of_this_inbox(house, door, store, monkeypatch):
    """RFC 2449 §6.7: NEVER is a promise; a stranger hears the smallest of all."""
    now = [1_000.0]
    monkeypatch.setattr(pop3_expire, "time", SimpleNamespace(monotonic=lambda: now[0]))
    async with connect(house, door, None) as stranger, connect(house, door) as client:
        assert await expire(stranger) == await expire(client) == b"EXPIRE NEVER"
        await store.run(expiry.set_rule, await inbox_of(store), 30)
        await store.run(expiry.set_rule, await inbox_of(store, str(BEN)), 7)
        assert await expire(client) == b"EXPIRE 30"
        assert await expire(stranger) == b"EXPIRE NEVER"  # known for a moment
        now[0] += pop3_expire.LIFE
        assert await expire(stranger) == b"EXPIRE 7 USER"
        await store.run(expiry.set_rule, await inbox_of(store), 0)
        await store.run(expiry.set_rule, await inbox_of(store, str(BEN)), None)
        assert await expire(client) == b"EXPIRE NEVER"
        now[0] += pop3_expire.LIFE
        assert await expire(stranger) == b"EXPIRE NEVER"


async def test_no_flag_is_set(house, door, store):
    """Decision 0092."""
    box = await fill(store, LETTER % 1)
    async with connect(house, door) as client:
        await client.lines("RETR 1")
        await client.lines("TOP 1 0")
        await client.say("QUIT")
    assert await store.read(emails.fetch, box, emails.ALL, (Column.FLAGS,)) == [(1, 0)]


async def test_ids_are_the_same_in_every_session(house, door, store):
    """RFC 1939 §7: from 0x21 to 0x7E, at most 70."""
    await fill(store, *(LETTER % n for n in range(1, 4)))
    async with connect(house, door) as client:
        before = (await client.lines("UIDL")).splitlines()
        await client.say("DELE 1")
        await client.say("QUIT")
    async with connect(house, door) as client:
        after = (await client.lines("UIDL")).splitlines()
    assert [line.split()[1] for line in after] == [line.split()[1] for line in before[1:]]
    assert all(0 < len(line.split()[1]) <= 70 for line in before)


@pytest.mark.parametrize("size", [70_000, INLINE_SIZE - 10, 3 * 1024 * 1024])
async def test_large_messages(house, door, store, size):
    """Dots at the beginnings of lines, at every place where pieces are cut, and a LF alone."""
    dice = random.Random(size)
    body = bytearray(dice.choices(b"\r\n.abc", weights=(0, 2, 3, 4, 4, 4), k=size)).replace(b"\n", b"\r\n")
    octets = b"Subject: large\r\n\r\n" + bytes(body) + b"\n.\r\nend"
    await fill(store, LETTER % 1, octets, LETTER % 2)
    async with connect(house, door) as client:
        await client.lines("RETR 1")
        sent = octets.replace(b"\n.\r\nend", b"\r\n.\r\nend\r\n")
        assert await client.lines("RETR 2") == sent
        assert await client.lines("RETR 3") == LETTER % 2
        whole = sent.split(b"\r\n")
        assert await client.lines("TOP 2 1") == b"\r\n".join([*whole[:3], b""])
        assert await client.lines("TOP 2 20000") == (
            b"\r\n".join([*whole[:20_002], b""]) if len(whole) > 20_003 else sent
        )


async def test_one_after_the_other_and_in_any_order(house, door, store):
    letters = [LETTER % n + b".dots\r\n" * n for n in range(50)]
    await fill(store, *letters)
    async with connect(house, door) as client:
        for order in (range(50), reversed(range(50)), random.Random(1).sample(range(50), 50)):
            for n in order:
                assert await client.lines(f"RETR {n + 1}") == letters[n]
        client.write(b"".join(b"RETR %d\r\n" % (n + 1) for n in range(50)))
        for n in range(50):
            assert await client.line() == b"+OK %d octets" % len(letters[n])
            assert await client.rest() == letters[n]


async def test_scram(house, door):
    """RFC 5034 §4 with RFC 7677: the server's proof comes as a challenge."""
    async with connect(house, door, user=None) as client:
        scram = ScramClient("SCRAM-SHA-256", str(ANNA), "correct horse", "nonce")
        challenge = await client.say("AUTH SCRAM-SHA-256 " + b64encode(scram.first()).decode())
        challenge = await client.say(b64encode(scram.final(b64decode(challenge[2:]))).decode())
        assert scram.proves(b64decode(challenge[2:]))
        assert await client.say("") == b"+OK 0 messages (0 octets)"


async def test_a_changed_password_ends_the_session(house, door, store):
    """And what it marked is kept."""
    box = await fill(store, LETTER % 1)
    async with connect(house, door) as client:
        await client.say("DELE 1")
        await store.run(accounts.set_password, ANNA, credential("another"))
        assert (await client.say("QUIT")).startswith(b"-ERR [AUTH] ")
        assert await client.closed()
    assert await store.read(uids, box) == [1]


async def test_the_journey_tells_of_it(house, door, store):
    await fill(store, *(LETTER % n for n in range(1, 4)))
    async with connect(house, door) as client:
        for number in (1, 2):
            await client.lines(f"RETR {number}")
        await client.lines("TOP 3 1")
        await client.say("DELE 2")
        await client.say("QUIT")
    stories = [msgspec.json.decode(entry.story) for entry in house.journey._waiting]
    assert [(one["what"], one["uids"], one["user"]) for one in stories] == [
        ("removed", "2", "anna@home.test"),
        ("fetched", "1:2", "anna@home.test"),
    ]


async def test_many_are_removed_in_several_transactions(house, door, store, monkeypatch):
    monkeypatch.setattr(maildrop, "RUNS_AT_ONCE", 3)
    box = await fill(store, *(LETTER % n for n in range(20)))
    async with connect(house, door) as client:
        for number in range(1, 21, 2):
            await client.say(f"DELE {number}")
        assert await client.say("QUIT") == b"+OK Goodbye"
    assert await store.read(uids, box) == list(range(2, 21, 2))


async def test_the_worker_closes_down(house, door):
    async with connect(house, door) as client:
        client.link.drain()
        assert (await client.line()).startswith(b"-ERR [SYS/TEMP] The server is closing down")
        assert await client.closed()


async def test_a_long_listing(house, door, store):
    count = 2_100  # printed in a thread
    await fill(store, *(b"A: %d\r\n\r\n" % n for n in range(count)))
    async with connect(house, door) as client:
        listed = (await client.lines("LIST")).splitlines()
        assert len(listed) == count
        assert listed[-1] == b"2100 11"
        assert len((await client.lines("UIDL")).splitlines()) == count
    await asyncio.sleep(0)


async def test_what_quit_removes_may_come_back(house, door):
    box = await fill(house.store, LETTER % 1, LETTER % 2)
    async with connect(house, door) as client:
        await client.say("DELE 1")
        assert (await client.say("QUIT")).startswith(b"+OK")
        assert await client.closed()
    [act] = await house.store.read(restore.acts, box.account)
    assert (act.name, act.agent) == ("INBOX", "anna@home.test by POP3 from 127.0.0.1")
    await house.store.run(restore.restore, box.account, act.id, [1], house.clock())
    async with connect(house, door) as client:
        assert await client.lines("UIDL") != b""
        assert (await client.say("STAT")).startswith(b"+OK 2 ")


class TestReadAhead:
    """One message after the other is read before it is asked for (decision 0123)."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(maildrop, "AHEAD", 4)

    async def test_every_message_is_its_own(self, house, door, store):
        sizes = [10, 90_000, 20, 40_000, 40_000, INLINE_SIZE + 10, 30, 0, 70_000] * 4
        mail = [LETTER % n + b"x" * size + b"\r\n" for n, size in enumerate(sizes)]
        await fill(store, *mail)
        async with connect(house, door) as client:
            for number in [*range(1, 12), 5, 6, *range(12, 20), 30, *range(20, len(mail) + 1), 1, 2, 3]:
                assert await client.lines(f"RETR {number}") == mail[number - 1]
                if number % 3 == 0:
                    assert await client.lines(f"TOP {number} 0") == LETTER[: -len(b"Hello.\r\n")] % (number - 1)

    async def test_who_takes_one_reads_one(self, house, door, store, monkeypatch):
        await fill(store, *(LETTER % n for n in range(20)))
        limits, fetched = [], maildrop.fetch_next
        monkeypatch.setattr(maildrop, "fetch_next", lambda *args: limits.append(args[3]) or fetched(*args))
        async with connect(house, door) as client:
            for number in (1, 9, 5):
                await client.lines(f"RETR {number}")
            assert limits == [1, 1, 1]
            await client.lines("RETR 6")
            await client.lines("RETR 7")
            assert limits[3] == 4

    async def test_what_goes_meanwhile_is_gone(self, house, door, store):
        """A message that another session removes is not sent, though it was read ahead or is being read."""
        count = 30
        await fill(store, *(LETTER % n for n in range(count)))
        async with connect(house, door) as client, connect_imap(house, door) as other:
            await other.do("SELECT INBOX")
            gone = set()
            for number in range(1, count + 1):
                answer = await client.say(f"RETR {number}")
                assert answer.startswith(b"-ERR That") is (number in gone)
                if number not in gone:
                    assert await client.rest() == LETTER % (number - 1)
                if number % 5 == 0 and number < count:
                    gone |= {number + 1, number + 2} & set(range(count + 1))
                    await other.do(rf"UID STORE {number + 1}:{number + 2} +FLAGS.SILENT (\Deleted)")
                    await other.do("EXPUNGE")

    async def test_a_damaged_message_is_nothing_to_the_others(self, house, door, store, monkeypatch, caplog):
        """What cannot be read keeps nothing from who asks for its neighbours, one after the other."""
        await fill(store, *(LETTER % n for n in range(20)))
        fetched = maildrop.fetch_next

        def broken(lately, box, spans, limit, room):
            if any(first <= 10 <= last for first, last in spans):
                raise Unavailable("its octets are damaged")
            return (yield from fetched(lately, box, spans, limit, room))

        monkeypatch.setattr(maildrop, "fetch_next", broken)
        async with connect(house, door) as client:
            for number in range(1, 21):
                answer = await client.say(f"RETR {number}")
                assert answer.startswith(b"-ERR [SYS/TEMP]" if number == 10 else b"+OK")
                assert number == 10 or await client.rest() == LETTER % (number - 1)
            await client.lines("RETR 7")
            await client.lines("RETR 8")  # and goes with a fault on its way
        gc.collect()
        assert "never retrieved" not in caplog.text

    async def test_only_so_many_octets(self, house, door, store, monkeypatch):
        monkeypatch.setattr(maildrop, "AHEAD_OCTETS", 50_000)
        mail = [LETTER % n + b"x" * 30_000 + b"\r\n" for n in range(6)]
        await fill(store, *mail)
        async with connect(house, door) as client:
            for number, octets in enumerate(mail, 1):
                assert await client.lines(f"RETR {number}") == octets
