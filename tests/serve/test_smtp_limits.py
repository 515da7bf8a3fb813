"""serve/smtp/: each limit of limits.md §1 that concerns SMTP, with its exact answer."""

import asyncio
import time
from dataclasses import replace

import pytest

from caller import MESSAGE, Caller, call, log_in, plain
from household import ANNA, BEN, inbox
from posthouse.mail.ids import Millis
from posthouse.serve.limits import PeerLimits, Peers, SessionLimits, WorkerLimits
from posthouse.serve.login import Door
from posthouse.store import journal
from posthouse.store.store import Store
from posthouse.transport import journey
from posthouse.transport.house import House, MessageLimits, SmtpRole
from posthouse.transport.spool import SPACE_REMEMBERED, DiskSpace

PATIENT = SessionLimits(error_delay_seconds=0.0)
HEADER_TOO_LARGE = "552 5.3.4 The header of the message is too large"

LOOP = "554 5.4.6 The message has been through too many servers; it seems to go in a circle"


def limited(house: House, **limits: int) -> House:
    return replace(house, limits=MessageLimits(**limits))


def strict(door: Door, **limits: float) -> Door:
    """The same door for peers that are counted on loopback too."""
    door.peers = Peers(PeerLimits(**limits))  # type: ignore[arg-type] # counts and seconds alike
    return door


async def test_a_command_line_that_is_too_long(house: House, door: Door) -> None:
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        assert (await caller.say("NOOP " + "x" * 4_000)).startswith("250")
        assert await caller.say("NOOP " + "x" * 5_000) == "500 5.5.2 That line is too long"
        assert await caller.say("NOOP") == "250 2.0.0 OK"


async def test_a_line_without_an_end(house: House, door: Door) -> None:
    async with call(house, door) as caller:
        caller.octets(b"x" * 100_000)
        assert await caller.reply() == ["421 4.7.0 That line does not end; goodbye"]
        assert await caller.closed()


async def test_message_size(house: House, door: Door) -> None:
    small = limited(house, message_size=1_000)
    async with call(small, door) as caller:
        assert "250-SIZE 1000" in await caller.say("EHLO client.test")
        assert (await caller.say("MAIL FROM:<> SIZE=1001")).startswith("552 5.3.4 ")
        assert (await caller.say("MAIL FROM:<> SIZE=1000")).startswith("250")
        assert (await caller.say("RCPT TO:<anna@home.test>")).startswith("250")
        assert (await caller.message(b"x" * 60 + b"\r\n" + b"y" * 1_000)).startswith("552 5.3.4 ")
        await caller.begin()
        assert (await caller.message(MESSAGE)).startswith("250")
    assert len(await inbox(house.store, ANNA)) == 1
    await small.journey.flush(small.store)
    refused = await small.store.read(journal.recent, Millis(0), ("refused",))
    assert [journey.read(row).story["step"] for row in refused] == ["MAIL", "the end of the message"]


@pytest.mark.parametrize(
    ("limits", "header", "expected"),
    [
        ({"header_size": 2_000}, b"X: y\r\n" * 400, HEADER_TOO_LARGE),
        ({"header_size": 2_000}, b"X: y\r\n" * 300, "250 2.0.0 Message accepted and stored"),
        ({"field_size": 300}, b"X: " + b"y\r\n z" * 100, "552 5.3.4 A field in the header of the message is too large"),
        ({"field_size": 300}, b"X: yyyyyyy\r\n" * 100, "250 2.0.0 Message accepted and stored"),
        ({"header_fields": 50}, b"X: y\r\n" * 51, "552 5.3.4 The header of the message has too many fields"),
        ({"header_fields": 50}, b"X: y\r\n z\r\n" * 50, "250 2.0.0 Message accepted and stored"),
        ({}, b"Received: x\r\n" * 50, LOOP),
        ({}, b"Received: x\r\n" * 49, "250 2.0.0 Message accepted and stored"),
    ],
)  # fmt: skip
async def test_headers(house: House, door: Door, limits: dict[str, int], header: bytes, expected: str) -> None:
    async with call(limited(house, **limits), door) as caller:
        await caller.begin()
        assert await caller.message(header.rstrip(b"\r\n") + b"\r\n\r\nbody") == expected
    assert len(await inbox(house.store, ANNA)) == (expected[0] == "2")


@pytest.mark.parametrize("octets", [b"a\0b", b"a\rb", b"a\nb", b"a\n.\nb", b"a\r.\r\nb", b"a\n.\r\nRSET"])
async def test_octets_that_mail_must_not_have(house: House, door: Door, octets: bytes) -> None:
    """S1 and S12 of limits.md: nothing is smuggled, nothing is repaired."""
    async with call(house, door, limits=PATIENT) as caller:
        await caller.begin()
        assert (await caller.message(MESSAGE + octets)).startswith("550 5.6.0 ")
        assert await caller.say("NOOP") == "250 2.0.0 OK"
    assert await inbox(house.store, ANNA) == []


async def test_recipients_of_one_transaction(house: House, door: Door) -> None:
    few = limited(house, recipients=3)
    async with call(few, door) as caller:
        await caller.begin(recipients=["anna@home.test", "ben@work.test", "info@home.test"])
        too_many = "452 4.5.3 Too many recipients for one message; send the rest in another"
        assert await caller.say("RCPT TO:<hello@home.test>") == too_many
        assert await caller.say("RCPT TO:<hello@home.test>") == too_many
        assert (await caller.message(MESSAGE)).startswith("250")  # the transaction lives
        await caller.begin(recipients=["anna@home.test"] * 3)
        for _ in range(3):
            assert await caller.say("RCPT TO:<anna@home.test>") == too_many
        assert await caller.say("RCPT TO:<anna@home.test>") == "421 4.7.0 Too many errors; goodbye"
        assert await caller.closed()


async def test_errors_are_answered_late_and_then_no_more(house: House, door: Door) -> None:
    limits = SessionLimits(soft_errors=2, hard_errors=5, error_delay_seconds=0.1, error_delay_most_seconds=0.2)
    took = []
    async with call(house, door, limits=limits) as caller:
        for _ in range(4):
            began = time.monotonic()
            assert await caller.say("FROBNICATE") == "500 5.5.2 Command not recognized"
            took.append(time.monotonic() - began)
        assert await caller.say("FROBNICATE") == "421 4.7.0 Too many errors; goodbye"
        assert await caller.closed()
    assert took[0] < 0.1
    assert [round(seconds, 1) for seconds in took[1:]] == [0.1, 0.2, 0.2]


async def test_the_default_patience(house: House, door: Door) -> None:
    async with call(house, door, limits=PATIENT) as caller:
        answers = [await caller.say("FROBNICATE") for _ in range(20)]
        assert answers[:19] == ["500 5.5.2 Command not recognized"] * 19
        assert answers[19] == "421 4.7.0 Too many errors; goodbye"


async def test_commands_without_mail(house: House, door: Door) -> None:
    limits = SessionLimits(junk_commands=10, hard_errors=3, error_delay_seconds=0.0)
    async with call(house, door, limits=limits) as caller:
        for _ in range(2):  # a message makes up for what was said before
            await caller.begin()
            for _ in range(5):
                assert await caller.say("NOOP") == "250 2.0.0 OK"
            assert (await caller.message(MESSAGE)).startswith("250")
        answers = [await caller.say(line) for line in ["RSET", "NOOP", "VRFY x", "HELP"] * 4]
        assert answers[12] == "421 4.7.0 Too many errors; goodbye"
        assert all(answer[0] == "2" for answer in answers[:12])


async def test_transactions_of_one_connection(house: House, door: Door) -> None:
    async with call(house, door, limits=SessionLimits(transactions=2)) as caller:
        for _ in range(2):
            await caller.begin()
        await caller.say("RSET")
        answer = await caller.say("MAIL FROM:<>")
        assert answer == "421 4.3.2 This connection has been used enough; open a new one"
        assert await caller.closed()


async def test_the_age_of_a_connection(house: House, door: Door) -> None:
    async with call(house, door, limits=SessionLimits(age_seconds=0.5)) as caller:
        await caller.begin()
        await asyncio.sleep(0.6)
        assert (await caller.message(MESSAGE)).startswith("250")
        answer = await caller.say("MAIL FROM:<>")
        assert answer == "421 4.3.2 This connection has been used enough; open a new one"


async def test_silence(house: House, door: Door) -> None:
    async with call(house, door, limits=SessionLimits(command_seconds=0.5)) as caller:
        assert await caller.reply() == ["421 4.4.2 Nothing came for too long; goodbye"]
        assert await caller.closed()


async def test_silence_in_the_middle_of_a_message(house: House, door: Door) -> None:
    async with call(house, door, limits=SessionLimits(command_seconds=0.5)) as caller:
        await caller.begin()
        assert (await caller.say("DATA")).startswith("354")
        caller.octets(MESSAGE)
        assert await caller.reply() == ["421 4.4.2 Nothing came for too long; goodbye"]
    assert await inbox(house.store, ANNA) == []


async def test_silence_in_the_middle_of_auth(house: House, door: Door) -> None:
    async with call(house, door, SmtpRole.SUBMISSION, SessionLimits(command_seconds=0.5)) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("AUTH PLAIN") == "334 "
        assert await caller.reply() == ["421 4.4.2 Nothing came for too long; goodbye"]
        assert await caller.closed()


async def test_a_message_that_drips(house: House, door: Door) -> None:
    """At least 1 KiB a second over a window, so that a slow peer cannot hold a session for days."""
    limits = SessionLimits(slow_window_seconds=1.0, slow_octets=1_000)
    async with call(house, door, limits=limits) as caller:
        await caller.begin()
        assert (await caller.say("DATA")).startswith("354")
        for _ in range(24):
            caller.octets(b"drip\r\n")
            await asyncio.sleep(0.05)
        assert await caller.reply() == ["421 4.4.2 The message comes too slowly; goodbye"]
    async with call(house, door, limits=limits) as caller:
        await caller.begin()
        assert (await caller.say("DATA")).startswith("354")
        for _ in range(24):
            caller.octets(b"a whole line of a message, and more of it\r\n" * 50)
            await asyncio.sleep(0.05)
        caller.octets(b".\r\n")
        assert (await caller.reply())[0].startswith("250")


async def test_unknown_recipients_of_a_session(house: House, door: Door) -> None:
    async with call(house, door, limits=SessionLimits(unknown_recipients=3)) as caller:
        await caller.begin()
        for _ in range(3):
            unknown = "550 5.1.1 There is no such user here; check the address"
            assert await caller.say("RCPT TO:<x@home.test>") == unknown
        harvest = "450 4.7.1 Too many unknown recipients; try again later"
        assert await caller.say("RCPT TO:<x@home.test>") == harvest
        assert await caller.say("RCPT TO:<ben@work.test>") == harvest  # no oracle
        assert (await caller.message(MESSAGE)).startswith("250")  # who was accepted gets it
    assert len(await inbox(house.store, ANNA)) == 1
    assert await inbox(house.store, BEN) == []


async def test_twenty_unknown_recipients_are_no_errors(house: House, door: Door) -> None:
    async with call(house, door) as caller:
        await caller.begin()
        answers = [await caller.say(f"RCPT TO:<x{number}@home.test>") for number in range(21)]
        assert [answer[:9] for answer in answers] == ["550 5.1.1"] * 20 + ["450 4.7.1"]


async def test_unknown_recipients_of_an_address_over_all_sessions(house: House, door: Door) -> None:
    strict(door, unknown_recipients=4)
    for expected in ("550 5.1.1", "450 4.7.1"):
        async with call(house, door) as caller:
            await caller.say("EHLO client.test")
            await caller.say("MAIL FROM:<>")
            for _ in range(4):
                assert (await caller.say("RCPT TO:<x@home.test>")).startswith(expected)
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        await caller.say("MAIL FROM:<>")
        assert (await caller.say("RCPT TO:<anna@home.test>")).startswith("450 4.7.1")


async def greeted(caller_house: House, door: Door) -> str:
    async with call(caller_house, door) as caller:
        return caller.greeting


async def test_connections_of_an_address(house: House, door: Door) -> None:
    strict(door, smtp_connections=2)
    refused = "421 4.7.0 Too many connections from your address; close some or try again later"
    async with call(house, door), call(house, door), call(house, door) as third:
        assert third.greeting == refused
        assert await third.closed()
    assert (await greeted(house, door)).startswith("220")


async def test_new_connections_of_an_address(house: House, door: Door) -> None:
    strict(door, new_connections=2, rate_refusal_seconds=0.2)
    began = time.monotonic()
    greetings = [await greeted(house, door) for _ in range(3)]
    assert [greeting[:3] for greeting in greetings] == ["220", "220", "421"]
    assert time.monotonic() - began >= 0.2
    assert greetings[2] == "421 4.7.0 Too many new connections from your address; try again in a minute"


async def test_failed_logins_of_an_address(house: House, door: Door) -> None:
    strict(door, login_failures_minute=2)
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        for _ in range(2):
            assert (await caller.say(f"AUTH PLAIN {plain(password='wrong')}")).startswith("535 5.7.8")
        answer = await caller.say(f"AUTH PLAIN {plain()}")
        assert answer == "421 4.7.0 Too many failed logins from your address; try again later"
        assert await caller.closed()


async def test_what_a_user_may_send(house: House, door: Door) -> None:
    strict(door, messages_hour=2, recipients_day=5)

    async def send(caller: Caller, *recipients: str) -> str:
        await caller.say("MAIL FROM:<anna@home.test>")
        for path in recipients:
            await caller.say(f"RCPT TO:<{path}>")
        return await caller.message(b"Subject: x\r\n\r\ny")

    enough = "451 4.7.1 You have sent as much as you may (2 messages in an hour); it is possible again in about an hour"
    never = "554 5.7.1 This message is for more people than you may write to: 5 recipients in a day"
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await log_in(caller)
        assert (await send(caller, "ben@work.test")).startswith("250")
        assert await send(caller, *["ben@work.test"] * 6) == never
        assert (await send(caller, "ben@work.test")).startswith("250")
        assert await send(caller, "ben@work.test") == enough
        await caller.say("QUIT")
    assert len(await inbox(house.store, BEN)) == 2


async def test_recipients_a_user_never_wrote_to_before(house: House, door: Door) -> None:
    strict(door, first_recipients_day=1)
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await log_in(caller)
        for path, expected in (("ben@work.test", "250"), ("ben@work.test", "250"), ("anna@home.test", "451")):
            await caller.say("MAIL FROM:<anna@home.test>")
            await caller.say(f"RCPT TO:<{path}>")
            answer = await caller.message(b"Subject: x\r\n\r\ny")
            assert answer.startswith(expected), answer
        people = "1 people in a day whom you never wrote to before"
        assert answer == f"451 4.7.1 You have sent as much as you may ({people}); it is possible again in about a day"


async def test_the_limits_of_lines_are_settings(house: House, door: Door) -> None:
    limits = SessionLimits(command_line=20, auth_line=40, swallowed=60)
    async with call(house, door, SmtpRole.SUBMISSION, limits) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("NOOP " + "x" * 20) == "500 5.5.2 That line is too long"
        assert (await caller.say("AUTH LOGIN")).startswith("334")
        assert await caller.say("x" * 50) == "500 5.5.6 That authentication line is too long"
        assert await caller.say("NOOP " + "x" * 100) == "421 4.7.0 That line does not end; goodbye"
    async with call(house, door, limits=SessionLimits(text_line=30)) as caller:
        await caller.begin()
        assert await caller.message(b"A: b\r\n\r\n" + b"x" * 31) == "550 5.6.0 A line of the message is too long"
        await caller.begin()
        assert (await caller.message(b"A: b\r\n\r\n" + b"x" * 30)).startswith("250")


async def test_who_connects_says_something_soon(house: House, door: Door) -> None:
    timed_out = "421 4.4.2 Nothing came for too long; goodbye"
    async with call(house, door, limits=SessionLimits(greeting_seconds=0.5)) as caller:
        assert await caller.reply() == [timed_out]
        assert await caller.closed()
    async with call(house, door, limits=SessionLimits(greeting_seconds=0.5, command_seconds=1.0)) as caller:
        began = time.monotonic()
        await caller.say("EHLO client.test")
        assert await caller.reply() == [timed_out]
        assert time.monotonic() - began >= 1.0
    async with call(house, door, SmtpRole.LMTP, SessionLimits(greeting_seconds=0.05)) as caller:
        await asyncio.sleep(0.15)
        assert (await caller.say("LHLO client.test")).startswith("250")


async def test_a_worker_that_is_full(house: House, door: Door) -> None:
    door.peers = Peers(PeerLimits(exempt_loopback=True), connections=1)
    async with call(house, door), call(house, door) as second:
        full = "421 4.3.2 This server has no room for another connection; try again in a few minutes"
        assert second.greeting == full
        assert await second.closed()
    assert (await greeted(house, door)).startswith("220")


async def test_recipients_of_an_address_with_a_bad_reputation(house: House, door: Door) -> None:
    strict(door, offences=1, recipients_of_offender=1)
    async with call(house, door, limits=SessionLimits(hard_errors=1)) as caller:
        assert await caller.say("FROBNICATE") == "421 4.7.0 Too many errors; goodbye"
    async with call(house, door) as caller:
        await caller.begin()
        too_many = "452 4.5.3 Too many recipients for one message; send the rest in another"
        assert await caller.say("RCPT TO:<ben@work.test>") == too_many
        assert (await caller.message(MESSAGE)).startswith("250")
    async with call(house, door, SmtpRole.SUBMISSION) as caller:  # a user is no stranger
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        for _ in range(2):
            assert (await caller.say("RCPT TO:<ben@work.test>")).startswith("250")


async def test_more_logins_than_can_be_checked(house: House, store: Store) -> None:
    limits = WorkerLimits(hash_threads=1, hash_queue=1)
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), sleep=no_wait, limits=limits)
    hold = asyncio.get_running_loop().create_future()
    door._checking.update({b"one": hold, b"two": hold})
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        busy = "454 4.7.0 Too many logins at the moment; try again in a few seconds"
        assert await caller.say(f"AUTH PLAIN {plain()}") == busy
        door._checking.clear()
        assert (await caller.say(f"AUTH PLAIN {plain()}")).startswith("235")
    door.close()
    hold.cancel()


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


async def test_a_disk_that_has_room_again(house: House, door: Door) -> None:
    """1.5 times the largest message and 64 MiB must be free (limits.md §5)."""
    free = 1_500 + 64 * 1024 * 1024 - 1
    small = replace(limited(house, message_size=1_000), disk=DiskSpace(lambda path: free))
    async with call(small, door) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("MAIL FROM:<>") == "452 4.3.1 The server is short of disk space; try again later"
        free += 1
        await asyncio.sleep(SPACE_REMEMBERED)
        assert (await caller.say("MAIL FROM:<>")).startswith("250")
        assert (await caller.say("RCPT TO:<anna@home.test>")).startswith("250")
        assert (await caller.message(MESSAGE)).startswith("250")
