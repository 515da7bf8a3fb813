"""The threats of limits.md §2 that a whole session must stand, with exact answers.

Those of the grammar are in tests/wire; dialogues are in tests/transcripts; docs/operate/limits.md says which is where.
"""

import asyncio
import socket
import ssl
import time
import tracemalloc
from base64 import b64encode

import pytest

from caller import MESSAGE, call
from fakes import comes_true
from household import ANNA, inbox
from posthouse.net.listen import bind, serve
from posthouse.serve.limits import PeerLimits, Peers, SessionLimits
from posthouse.serve.login import Door
from posthouse.serve.smtp.session import session
from posthouse.store.store import Store
from posthouse.transport.house import House, SmtpRole
from serve.imap.dialogue import connect

WRONG = "535 5.7.8 User name or password is wrong, or the password is not for this"
MALFORMED = "501 5.5.2 That is no answer to the challenge; authentication was given up"
SOON = 30.0  # seconds within which other addresses are served during a flood (S10)
EXTRA = 64 * 1024 * 1024  # octets of memory one attacker may cost (S5)


@pytest.mark.parametrize(
    ("message", "answer", "imap"),
    [
        (
            b"\0anna@home.test\0wrong",
            WRONG,
            b"NO [AUTHENTICATIONFAILED] User name or password is wrong, or the password is not for this",
        ),
        (
            b"\0nobody@home.test\0wrong",
            WRONG,
            b"NO [AUTHENTICATIONFAILED] User name or password is wrong, or the password is not for this",
        ),
        (
            b"ben@work.test\0anna@home.test\0correct horse",
            WRONG,
            b"NO [AUTHENTICATIONFAILED] User name or password is wrong, or the password is not for this",
        ),
        (
            b"\0anna@home.test\0correct horse\0",
            MALFORMED,
            b"BAD That is no answer to the challenge; authentication was given up",
        ),
        (
            b"\0anna@home.test\0\0correct horse",
            MALFORMED,
            b"BAD That is no answer to the challenge; authentication was given up",
        ),
        (b"anna@home.test", MALFORMED, b"BAD That is no answer to the challenge; authentication was given up"),
    ],
)
async def test_s8_oddities_of_plain(house: House, door: Door, message: bytes, answer: str, imap: bytes) -> None:
    """No oracle: who is not there, who is and who acts for another get the same words."""
    text = b64encode(message).decode()
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say(f"AUTH PLAIN {text}") == answer
    async with connect(house, door, user=None) as client:
        assert await client.fails(f"AUTHENTICATE PLAIN {text}") == imap


TIMING_ROUNDS = 6  # of which one undisturbed round of each name is enough


async def test_s8_a_login_takes_as_long_for_nobody_as_for_somebody(house: House, store: Store) -> None:
    """Within 50 ms (and not before `refusal_seconds`). The least of several tries: a busy machine only adds."""
    door = Door(store, Peers(PeerLimits(refusal_seconds=0.5, exempt_loopback=True)))
    names = ("anna@home.test", "nobody@home.test", "anna@elsewhere.test", "no address")
    took = dict.fromkeys(names, 60.0)
    for _ in range(TIMING_ROUNDS):
        for name in names:
            async with connect(house, door, user=None) as client:
                began = time.monotonic()
                await client.fails(f'LOGIN "{name}" wrong')
                took[name] = min(took[name], time.monotonic() - began)
        if max(took.values()) - min(took.values()) < 0.05:
            break
    assert min(took.values()) >= 0.5
    assert max(took.values()) - min(took.values()) < 0.05
    door.close()


async def test_s9_nothing_verifies_addresses(house: House, door: Door) -> None:
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        for name in ("anna", "nobody", "anna@home.test"):
            assert await caller.say(f"VRFY {name}") == (
                "252 2.1.5 Addresses are not verified here; send a message and see"
            )
        assert await caller.say("EXPN info") == "502 5.5.1 Lists are not expanded here"


async def test_s10_a_flood_is_refused_at_once_and_others_are_served(house: House, door: Door) -> None:
    door.peers = Peers(PeerLimits(smtp_connections=10, new_connections=1_000))
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], lambda link: session(link, house, door, SmtpRole.MX))
    address = sock.getsockname()
    loop = asyncio.get_running_loop()

    async def greeting(client: socket.socket) -> bytes:
        client.setblocking(False)
        async with asyncio.timeout(SOON):
            return await loop.sock_recv(client, 1_000)

    flood = [socket.create_connection(address) for _ in range(200)]
    other = socket.create_connection(address, source_address=("127.0.0.2", 0))
    began = time.monotonic()
    assert (await greeting(other)).startswith(b"220 ")
    assert time.monotonic() - began < SOON
    said = [await greeting(client) for client in flood]
    assert sum(words.startswith(b"220 ") for words in said) == 10
    refused = b"421 4.7.0 Too many connections from your address; close some or try again later\r\n"
    assert said.count(refused) == 190
    await comes_true(lambda: door.peers.open == listener.connections == 11)
    assert door.peers.open == 11  # those who were refused cost nothing any more
    assert listener.connections == 11
    for client in (*flood, other):
        client.close()
    await listener.drain(1)


@pytest.mark.parametrize(
    "octets",
    [b"NOOP " + b"x" * 20_000_000, b"EHLO c\r\n" + b"NOOP\r\n" * 200_000, b"RCPT TO:<" + b"a@" * 5_000_000 + b">\r\n"],
)
async def test_s5_what_one_stranger_costs_smtp(house: House, door: Door, octets: bytes) -> None:
    async with call(house, door, limits=SessionLimits(error_delay_seconds=0.0)) as caller:
        tracemalloc.start()
        caller.octets(octets)
        await caller.writer.drain()
        async with asyncio.timeout(120):
            while await caller.reply():
                pass
        assert tracemalloc.get_traced_memory()[1] < EXTRA
        tracemalloc.stop()


@pytest.mark.parametrize(
    "octets",
    [
        b"a NOOP " + b"x" * 20_000_000,
        b"a LOGIN {4000+}\r\n" + b"x" * 4_000 + b" {4000+}\r\n" * 300_000,
        b"a SEARCH " + b"(" * 8_000 + b"\r\n" + b"a LOGIN {9223372036854775807+}\r\n",
    ],
)
async def test_s5_what_one_stranger_costs_imap(house: House, door: Door, octets: bytes) -> None:
    async with connect(house, door, user=None) as client, connect(house, door) as other:
        tracemalloc.start()
        client.writer.write(octets)
        began = time.monotonic()
        await other.do("NOOP")
        assert time.monotonic() - began < 30.0
        last = b""
        async with asyncio.timeout(120):
            while line := await client.response():
                last = line
        assert last.startswith(b"* BYE ")
        assert tracemalloc.get_traced_memory()[1] < EXTRA
        tracemalloc.stop()


@pytest.mark.parametrize("literal", [b"{15+}\r\nanna@home.test\0", b"{17+}\r\nanna@home.test\0xx", b"{3+}\r\na\0b"])
async def test_s12_a_name_with_nul_is_never_cut(house: House, door: Door, literal: bytes) -> None:
    async with connect(house, door, user=None) as client:
        answer = await client.fails(b"LOGIN " + literal + b' "correct horse"')
        assert answer.startswith(b"BAD ")
        assert await client.fails("SELECT INBOX") == b"BAD Log in first."


async def test_s12_commands_with_control_octets(house: House, door: Door) -> None:
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        for line in ("NO\0OP", "MAIL FROM:<a\0b@home.test>", "MAIL FROM:<a\x07b@home.test>"):
            assert (await caller.say(line))[:3] in ("500", "501")
        assert (await caller.say("MAIL FROM:<>")).startswith("250")
        assert (await caller.say("RCPT TO:<anna@home.test\0>")) == (
            "500 5.5.2 There are control characters in that line"
        )


async def test_s13_who_talks_before_the_greeting_gains_nothing(house: House, door: Door) -> None:
    """The answers come in order behind the greeting; 554 is optional in limits.md, and absent here."""
    async with call(house, door) as caller:
        caller.write("EHLO client.test", "MAIL FROM:<>", "RCPT TO:<anna@home.test>", "DATA")
        codes = [(await caller.reply())[-1][:3] for _ in range(4)]
        assert codes == ["250", "250", "250", "354"]
        caller.octets(MESSAGE + b"\r\n.\r\n")
        assert (await caller.reply())[0].startswith("250")
    assert len(await inbox(house.store, ANNA)) == 1


async def test_s26_nothing_old_and_nothing_anew(tls: ssl.SSLContext) -> None:
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.options & ssl.OP_NO_RENEGOTIATION
    assert tls.options & ssl.OP_NO_COMPRESSION
    assert tls.verify_mode is ssl.CERT_NONE  # a client's certificate is not asked for


async def test_a_store_that_has_failed(house: House, door: Door, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """limits.md §5, "fsync fails": not one 250 until the worker has restarted."""
    monkeypatch.setattr(store._writer, "failed", "the disk failed: EIO")
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        failed = "421 4.3.0 This server cannot store mail until it has restarted; try again later"
        assert await caller.say("MAIL FROM:<>") == failed
        assert await caller.closed()
