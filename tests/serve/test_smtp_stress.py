"""serve/smtp/ and serve/imap under stress: what strangers are told, and what users do not notice (limits.md §1)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from caller import MESSAGE, Caller, call, log_in
from household import ANNA, inbox
from posthouse.serve.limits import PeerLimits, Peers, SessionLimits
from posthouse.serve.login import Door
from posthouse.serve.stress import Stress, StressLimits
from posthouse.transport.house import House, SmtpRole
from serve.imap.dialogue import connect

TOO_MANY_ERRORS = "421 4.7.0 Too many errors; goodbye"
BUSY = "421 4.3.2 This server has too much to do at the moment; try again in a few minutes"
TIMED_OUT = "421 4.4.2 Nothing came for too long; goodbye"


@pytest.fixture
def stressed(door: Door) -> Door:
    """A worker under stress, which knows the test's address."""
    stress = Stress(StressLimits(command_seconds=0.3, recipients=2))
    stress.on = True
    door.peers = Peers(PeerLimits(), stress=stress)
    door.peers.delivered("127.0.0.1")
    return door


async def test_a_stranger_is_refused(house: House, door: Door) -> None:
    door.peers = Peers(PeerLimits())
    door.peers.stress.on = True
    async with call(house, door) as caller:
        assert caller.greeting == BUSY
        assert await caller.closed()
    async with connect(house, door, user=None) as client:
        busy = b"* BYE [UNAVAILABLE] This server has too much to do at the moment; try again in a few minutes"
        assert client.greeting == busy
        assert await client.closed()


async def test_one_error_is_enough(house: House, stressed: Door) -> None:
    async with call(house, stressed) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("FROBNICATE") == TOO_MANY_ERRORS
        assert await caller.closed()


async def test_one_command_without_mail_is_enough(house: House, stressed: Door) -> None:
    async with call(house, stressed) as caller:
        assert (await caller.say("EHLO client.test")).startswith("250")
        assert await caller.say("NOOP") == TOO_MANY_ERRORS


async def test_mail_comes_in(house: House, stressed: Door) -> None:
    async with call(house, stressed) as caller:
        await caller.begin(recipients=["anna@home.test", "ben@work.test"])
        assert await caller.say("RCPT TO:<anna@home.test>") == (
            "452 4.5.3 Too many recipients for one message; send the rest in another"
        )
        assert (await caller.message(MESSAGE)).startswith("250")
        assert await caller.say("QUIT") == "221 2.0.0 Goodbye"
    assert len(await inbox(house.store, ANNA)) == 1


async def test_silence_is_cut_short(house: House, stressed: Door) -> None:
    async with call(house, stressed) as caller:
        await caller.say("EHLO client.test")
        assert await caller.reply() == [TIMED_OUT]


async def test_who_waits_already_is_told_when_stress_begins(house: House, stressed: Door) -> None:
    stressed.peers.stress.on = False
    async with call(house, stressed) as caller, connect(house, stressed, user=None) as client:
        await caller.say("EHLO client.test")
        await asyncio.sleep(0.4)
        stressed.peers.stress.on = True
        caller.link.wake()
        client.link.wake()
        assert await caller.reply() == [TIMED_OUT]
        assert await client.response() == b"* BYE Nothing came for too long; goodbye."


async def idle(caller: Caller) -> None:
    await asyncio.sleep(0.5)


async def err(caller: Caller) -> None:
    for _ in range(3):
        assert (await caller.say("FROBNICATE")).startswith("500")


async def chat(caller: Caller) -> None:
    for _ in range(3):
        assert (await caller.say("NOOP")).startswith("250")


@pytest.mark.parametrize("what", [idle, err, chat])
async def test_users_notice_nothing(house: House, stressed: Door, what: Callable[[Caller], Awaitable[None]]) -> None:
    async with call(house, stressed, SmtpRole.SUBMISSION, SessionLimits(error_delay_seconds=0.0)) as caller:
        await log_in(caller)
        await what(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        for _ in range(3):
            assert (await caller.say("RCPT TO:<ben@work.test>")).startswith("250")
        assert (await caller.message(b"Subject: x\r\n\r\ny")).startswith("250")


async def test_lmtp_notices_nothing(house: House, stressed: Door) -> None:
    async with call(house, stressed, SmtpRole.LMTP) as caller:
        await caller.say("LHLO client.test")
        await asyncio.sleep(0.5)
        for _ in range(3):
            assert (await caller.say("NOOP")).startswith("250")


async def test_readers_notice_nothing(house: House, stressed: Door) -> None:
    async with connect(house, stressed) as client:
        await client.do("SELECT INBOX")
        await asyncio.sleep(0.5)
        await client.do("NOOP")
