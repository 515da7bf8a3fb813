"""serve/pop3: each limit of limits.md that concerns POP3, with its exact answer (RFC 1939 §3, RFC 3206 §4)."""

import asyncio
import socket
import time
import tracemalloc

import pytest

from fakes import comes_true
from posthouse.net.link import LinkLimits
from posthouse.net.listen import bind, serve
from posthouse.serve.limits import PeerLimits, Peers, Pop3SessionLimits, WorkerLimits
from posthouse.serve.login import Door
from posthouse.serve.pop3.session import session
from posthouse.store.script import Unavailable
from serve.imap.dialogue import connect as connect_imap
from serve.pop3.dialogue import LETTER, connect, fill, inbox_of, uids


def test_the_defaults_of_limits_md():
    limits = Pop3SessionLimits()
    assert (limits.before_login_seconds, limits.sasl_seconds, limits.idle_seconds) == (60.0, 180.0, 600.0)
    assert (limits.line, limits.login_failures, limits.mistakes) == (1_024, 3, 50)


async def test_who_is_silent_is_closed_without_a_word(house, door, store):
    """RFC 1939 §3: and nothing is removed."""
    box = await fill(store, LETTER % 1)
    async with connect(house, door, limits=Pop3SessionLimits(idle_seconds=0.5)) as client:
        await client.say("DELE 1")
        assert await client.closed()
    assert await store.read(uids, box) == [1]


async def test_a_stranger_has_a_minute_whatever_they_say(house, door):
    async with connect(house, door, user=None, limits=Pop3SessionLimits(before_login_seconds=0.3)) as client:
        for _ in range(20):
            client.write(b"USER anna@home.test\r\n")
            await asyncio.sleep(0.03)
        async with asyncio.timeout(60):
            while await client.line():
                pass


async def test_a_sasl_exchange_has_its_own_time(house, door):
    async with connect(house, door, user=None, limits=Pop3SessionLimits(sasl_seconds=0.5)) as client:
        assert await client.say("AUTH PLAIN") == b"+ "
        assert await client.closed()


@pytest.mark.parametrize(("user", "word"), [(None, "CAPA"), (None, "STAT"), ("anna@home.test", "NONSENSE")])
async def test_so_many_mistakes(house, door, user, word):
    async with connect(house, door, user=user, limits=Pop3SessionLimits(mistakes=3)) as client:
        for _ in range(3):
            client.write(word.encode() + b"\r\n")
        client.write(word.encode() + b"\r\n")
        last = b""
        while line := await client.line():
            last = line
        assert last == b"-ERR Too many mistakes; goodbye"


async def test_users_may_repeat_what_they_like(house, door):
    async with connect(house, door, limits=Pop3SessionLimits(mistakes=3)) as client:
        for _ in range(20):
            assert (await client.say("DELE 1")).startswith(b"-ERR")
            assert await client.say("NOOP") == b"+OK Done"


async def test_three_failed_logins_end_the_connection(house, door):
    async with connect(house, door, user=None) as client:
        for _ in range(3):
            await client.say("USER anna@home.test")
            assert (
                await client.say("PASS wrong")
                == b"-ERR [AUTH] User name or password is wrong, or the password is not for this"
            )
        assert await client.closed()


async def test_one_user_has_so_many_connections_from_one_address(house, store):
    door = Door(store, Peers(PeerLimits(pop3_connections_of_user=1, imap_connections_of_user=1)), secret=b"s" * 32)
    async with connect(house, door), connect_imap(house, door), connect(house, door, user=None) as client:
        await client.say("USER anna@home.test")
        assert (await client.say("PASS correct horse")).startswith(b"-ERR [SYS/TEMP] Too many connections")
        assert await client.closed()
    async with connect(house, door):
        pass
    door.close()


async def test_one_address_has_so_many_connections(house, store):
    door = Door(store, Peers(PeerLimits(pop3_connections=1)), secret=b"s" * 32)
    async with connect(house, door, user=None), connect(house, door, greeted=False) as client:
        assert (await client.line()).startswith(b"-ERR [SYS/TEMP] Too many connections")
        assert await client.closed()
    door.close()


async def test_failed_logins_of_an_address(house, store):
    peers = Peers(PeerLimits(login_failures_minute=1, refusal_seconds=0.0))
    door = Door(store, peers)
    peers.login_failed("anna@home.test", "192.0.2.1")
    async with connect(house, door, user=None) as client:
        client.link.peer = ("192.0.2.1", 1)
        await client.say("USER anna@home.test")
        assert (await client.say("PASS correct horse")).startswith(b"-ERR [SYS/TEMP] Too many failed logins")
        assert await client.closed()
    door.close()


async def test_more_logins_than_can_be_checked(house, store):
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), limits=WorkerLimits(hash_threads=1, hash_queue=-1))
    async with connect(house, door, user=None) as client:
        await client.say("USER anna@home.test")
        assert (await client.say("PASS correct horse")).startswith(b"-ERR [SYS/TEMP] Too many logins at the moment")
    door.close()


async def test_what_is_pipelined_is_answered_at_the_pace_of_who_reads(house, door, store):
    """A client that asks for 200 MB and does not read costs a few MB, and other sessions go on."""
    await fill(store, LETTER % 1 + b"x" * 60_000, LETTER % 2 + b"y" * 400_000)
    few = LinkLimits(high_water=65_536)
    async with connect(house, door, link_limits=few) as client:
        tracemalloc.start()
        client.writer.transport.pause_reading()
        client.write(b"RETR 1\r\nRETR 2\r\n" * 400)
        async with connect(house, door) as other:
            for _ in range(20):
                assert await other.say("NOOP") == b"+OK Done"
                await asyncio.sleep(0.02)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 16 * 1024 * 1024
        client.link.abort()


async def test_a_store_that_has_failed_is_told_as_something_that_passes(house, door, store, monkeypatch):
    box = await fill(store, LETTER % 1)
    async with connect(house, door) as client:
        await client.say("DELE 1")

        async def broken(*_args, **_kwargs):
            raise Unavailable("the disk is gone")

        monkeypatch.setattr(store, "run", broken)
        assert (await client.say("QUIT")).startswith(b"-ERR [SYS/TEMP] Some of the messages were not removed")
        assert await client.closed()
    monkeypatch.undo()
    assert await store.read(uids, box) == [1]
    assert await inbox_of(store) == box


EXTRA = 64 * 1024 * 1024  # octets of memory one attacker may cost (S5)
SOON = 30.0  # seconds within which others are served during a flood (S10)


async def test_a_flood_is_refused_at_once_and_others_are_served(house, door):
    """200 connections that say nothing, 10 of them taken, and somebody from elsewhere who wants mail."""
    door.peers = Peers(PeerLimits(pop3_connections=10, new_connections=1_000))
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], lambda link: session(link, house, door))
    loop = asyncio.get_running_loop()

    async def greeting(client):
        client.setblocking(False)
        async with asyncio.timeout(SOON):
            return await loop.sock_recv(client, 1_000)

    flood = [socket.create_connection(sock.getsockname()) for _ in range(200)]
    other = socket.create_connection(sock.getsockname(), source_address=("127.0.0.2", 0))
    began = time.monotonic()
    assert (await greeting(other)).startswith(b"+OK ")
    assert time.monotonic() - began < SOON
    said = [await greeting(client) for client in flood]
    assert sum(words.startswith(b"+OK ") for words in said) == 10
    refused = b"-ERR [SYS/TEMP] Too many connections from your address; close some or try again later\r\n"
    assert said.count(refused) == 190
    await comes_true(lambda: door.peers.open == 11)  # those who were refused cost nothing any more
    for client in (*flood, other):
        client.close()
    await listener.drain(1)


@pytest.mark.parametrize(
    "octets",
    [b"USER " + b"x" * 20_000_000, b"CAPA\r\n" * 200_000, b"AUTH PLAIN\r\n*\r\n" * 100_000, b"\r\n" * 1_000_000],
)
async def test_s5_what_one_stranger_costs(house, door, octets):
    """Less than 64 MiB, what the client itself holds of its octets with it; and others are answered."""
    async with connect(house, door, user=None) as client, connect(house, door) as other:
        tracemalloc.start()
        client.write(octets)
        for _ in range(10):
            assert await other.say("NOOP") == b"+OK Done"
        async with asyncio.timeout(60):
            while await client.line():
                pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < EXTRA
