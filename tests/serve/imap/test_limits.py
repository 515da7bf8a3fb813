"""serve/imap: each limit of limits.md §1 that concerns IMAP, with its exact answer, at small settings."""

import asyncio
import time
from dataclasses import replace

import pytest

from posthouse.net.link import LinkLimits
from posthouse.serve.limits import ImapSessionLimits, PeerLimits, Peers, WorkerLimits
from posthouse.serve.login import Door
from posthouse.transport.house import MessageLimits
from posthouse.transport.spool import SPACE_REMEMBERED, DiskSpace
from serve.imap.dialogue import MESSAGE, connect

SMALL = ImapSessionLimits(line=100, line_before_login=60, literal=50, literal_before_login=20, literals=2, command=90)
TOO_BIG = b"[TOOBIG] The literal is too big, or there are too many of them."
CLOSED = b"* BYE Nothing came for too long; goodbye."


def test_the_defaults_of_limits_md():
    limits = ImapSessionLimits()
    assert (limits.line, limits.line_before_login) == (64 * 1024, 8 * 1024)
    assert (limits.literal, limits.literal_before_login) == (64 * 1024, 4 * 1024)
    assert (limits.literals, limits.command) == (500, 1024 * 1024)
    assert (limits.append_size, limits.append_messages) == (100 * 1024 * 1024, 1_000)
    assert (limits.before_login_seconds, limits.sasl_seconds, limits.idle_seconds) == (60.0, 180.0, 35 * 60.0)
    assert (LinkLimits().high_water, LinkLimits().stall_seconds, LinkLimits().handshake_seconds) == (1 << 20, 300, 30)


async def test_a_line_before_login_ends_the_connection(house, door):
    async with connect(house, door, user=None, limits=SMALL) as client:
        client.write("NOOP " + "x" * 60)
        assert await client.response() == b"* BYE [LIMIT] The command line is too long."
        assert await client.closed()


async def test_a_line_is_swallowed(house, door):
    async with connect(house, door, limits=SMALL) as client:
        answer = await client.fails('LIST "" ' + "x" * 100)
        assert answer == b"BAD [LIMIT] A command line may have at most 100 octets."
        await client.do("NOOP")


@pytest.mark.parametrize(("user", "size"), [(None, 21), ("anna@home.test", 51)])
async def test_a_synchronizing_literal_is_refused_before_the_plus(house, door, user, size):
    async with connect(house, door, user=user, limits=SMALL) as client:
        assert await client.fails(b"LOGIN {%d}" % size) == b"NO " + TOO_BIG
        await client.do("NOOP")


async def test_a_literal_that_comes_at_once_is_dropped(house, door):
    async with connect(house, door, limits=SMALL) as client:
        assert await client.fails(b'LIST "" {51+}\r\n' + b"x" * 51) == b"BAD " + TOO_BIG
        await client.do("NOOP")


async def test_a_large_literal_that_comes_at_once_ends_the_connection(house, door):
    async with connect(house, door, limits=SMALL) as client:
        client.write(b'LIST "" {4097+}')
        assert await client.response() == b"* BYE [TOOBIG] The literal is too big."
        assert await client.closed()


@pytest.mark.parametrize(
    "literals", [b"{1+}\r\na {1+}\r\na {1+}\r\na", b"{40+}\r\n" + b"x" * 40 + b" {40+}\r\n" + b"x" * 40]
)
async def test_many_literals_and_long_commands(house, door, literals):
    async with connect(house, door, limits=SMALL) as client:
        assert await client.fails(b"RENAME " + literals) == b"BAD " + TOO_BIG
        await client.do("NOOP")


async def test_a_message_is_refused_before_the_plus(house, door):
    small = replace(house, limits=MessageLimits(message_size=100))
    async with connect(small, door) as client:
        assert await client.fails(b"APPEND INBOX {101}") == b"NO [TOOBIG] A message may have at most 100 octets here."
        await client.append(b"A: 1\r\n\r\n" + b"x" * 92)


async def test_so_many_messages_of_one_append(house, door):
    async with connect(house, door, limits=ImapSessionLimits(append_messages=2)) as client:
        three = b" ".join([b"{6+}\r\nA: 1\r\n"] * 3)
        assert await client.fails(b"APPEND INBOX " + three) == b"BAD [LIMIT] APPEND takes at most 2 messages."
        assert await client.do("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("SEARCH " + "(" * 51 + "ALL" + ")" * 51, b"BAD [LIMIT] Search keys may be nested at most 50 deep."),
        ("SEARCH " + "ALL " * 1_000 + "ALL", b"BAD [LIMIT] A search may have at most 1000 keys."),
        (
            "FETCH " + ",".join(str(2 * number + 1) for number in range(10_001)) + " UID",
            b"BAD [LIMIT] A set of message numbers may have at most 10000 ranges.",
        ),
        ('LIST "" ' + "%" * 1_001, b"BAD [LIMIT] A LIST pattern may have at most 1000 characters."),
    ],
)
async def test_nesting_and_numbers(house, door, command, answer):
    async with connect(house, door) as client:
        await client.do("SELECT INBOX")
        assert await client.fails(command) == answer
        await client.do("NOOP")


async def test_nesting_and_numbers_are_settings(house, door):
    limits = ImapSessionLimits(search_depth=2, search_keys=3, number_ranges=2)
    async with connect(house, door, limits=limits) as client:
        await client.do("SELECT INBOX")
        await client.do("SEARCH ((ALL))")
        assert await client.fails("SEARCH (((ALL)))") == b"BAD [LIMIT] Search keys may be nested at most 2 deep."
        assert await client.fails("SEARCH ALL ALL ALL ALL") == b"BAD [LIMIT] A search may have at most 3 keys."
        ranges = b"BAD [LIMIT] A set of message numbers may have at most 2 ranges."
        assert await client.fails("FETCH 1,3,5 UID") == ranges
        assert await client.fails("UID SEARCH UID 1,3,5") == ranges


async def test_a_pattern_of_wildcards_costs_nobody_anything(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        began = time.monotonic()
        client.write('LIST "" ' + "*a" * 500)
        await other.do("NOOP")
        assert time.monotonic() - began < 30.0


async def test_a_sasl_exchange_has_its_own_time(house, door):
    limits = ImapSessionLimits(before_login_seconds=0.1, sasl_seconds=0.5)
    async with connect(house, door, user=None, limits=limits) as client:
        client.write("AUTHENTICATE PLAIN")
        assert (await client.response()).startswith(b"+")
        began = time.monotonic()
        assert await client.response() == CLOSED
        assert time.monotonic() - began >= 0.4


async def test_failed_logins_of_one_connection(house, door):
    async with connect(house, door, user=None, limits=ImapSessionLimits(login_failures=2)) as client:
        wrong = b"NO [AUTHENTICATIONFAILED] User name or password is wrong, or the password is not for this"
        for _ in range(2):
            assert await client.fails("LOGIN anna@home.test wrong") == wrong
        assert await client.response() == b"* BYE Too many failed logins; goodbye."
        assert await client.closed()


async def test_failed_logins_of_an_address(house, door):
    door.peers = Peers(PeerLimits(login_failures_minute=1))
    async with connect(house, door, user=None) as client:
        await client.fails("LOGIN anna@home.test wrong")
        answer = await client.fails('LOGIN anna@home.test "correct horse"')
        assert answer == b"NO [LIMIT] Too many failed logins from your address; try again later"
        assert await client.response() == b"* BYE Too many failed logins; goodbye."


async def test_more_logins_than_can_be_checked(house, store):
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), limits=WorkerLimits(hash_threads=1, hash_queue=1))
    hold = asyncio.get_running_loop().create_future()
    door._checking.update({b"one": hold, b"two": hold})
    async with connect(house, door, user=None) as client:
        answer = await client.fails('LOGIN anna@home.test "correct horse"')
        assert answer == b"NO [UNAVAILABLE] Too many logins at the moment; try again in a few seconds"
        door._checking.clear()
        await client.do('LOGIN anna@home.test "correct horse"')
    door.close()
    hold.cancel()


async def test_connections(house, door):
    door.peers = Peers(PeerLimits(imap_connections=1, new_connections=2, rate_refusal_seconds=0.2))
    async with connect(house, door), connect(house, door, user=None) as second:
        many = b"* BYE [LIMIT] Too many connections from your address; close some or try again later"
        assert second.greeting == many
        assert await second.closed()
    door.peers = Peers(PeerLimits(new_connections=1, rate_refusal_seconds=0.2))
    async with connect(house, door, user=None):
        pass
    began = time.monotonic()
    async with connect(house, door, user=None) as client:
        fast = b"* BYE [LIMIT] Too many new connections from your address; try again in a minute"
        assert client.greeting == fast
        assert time.monotonic() - began >= 0.2
    door.peers = Peers(PeerLimits(exempt_loopback=True), connections=1)
    async with connect(house, door), connect(house, door, user=None) as second:
        full = b"* BYE [UNAVAILABLE] This server has no room for another connection; try again in a few minutes"
        assert second.greeting == full


async def test_a_full_disk_lets_users_read_and_make_room(house, door):
    """limits.md §5: 1.5 times the largest message and 64 MiB must be free; reading, EXPUNGE and login go on."""
    free = 1 << 40
    small = replace(house, limits=MessageLimits(message_size=1_000), disk=DiskSpace(lambda path: free))
    async with connect(small, door) as client:
        await client.append()
        free = 1_500 + 64 * 1024 * 1024 - 1
        await asyncio.sleep(SPACE_REMEMBERED)
        full = b"NO [UNAVAILABLE] There is no room on the server's disk at the moment; try again later."
        assert await client.fails(b"APPEND INBOX {%d}" % len(MESSAGE)) == full
        assert await client.fails(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE)) == full
        async with connect(small, door) as other:
            await other.do("SELECT INBOX")
            [fetched] = await other.do("FETCH 1 BODY.PEEK[]")
            assert MESSAGE in fetched
            await other.do("STORE 1 +FLAGS.SILENT \\Deleted")
            assert b"* 1 EXPUNGE" in await other.do("EXPUNGE")
        free += 1
        await asyncio.sleep(SPACE_REMEMBERED)
        await client.append()


async def test_a_client_that_does_not_read_is_cut_off_and_others_are_served(house, door):
    async with connect(house, door) as client:
        await client.append(b"A: 1\r\n\r\n" + b"x" * 1_000_000)
    limits = LinkLimits(stall_seconds=0.3, high_water=65_536)
    async with connect(house, door, link=limits) as client, connect(house, door) as other:
        await client.do("SELECT INBOX")
        client.reader._transport.pause_reading()
        for number in range(30):
            client.writer.write(b"x%d FETCH 1 BODY.PEEK[]\r\n" % number)
        async with asyncio.timeout(60):
            while not client.task.done():
                await other.do("NOOP")
        assert client.link.closing
        assert client.link.unsent == 0
