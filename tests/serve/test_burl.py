"""serve/smtp/burl.py: messages that are here already are sent without coming again (RFC 4468)."""

from dataclasses import replace

import pytest

from caller import call, log_in
from household import ANNA, BEN, HOSTNAME, inbox
from posthouse.serve.imap.parts import PIECE
from posthouse.transport.house import SmtpRole
from serve.imap.dialogue import connect

RUMP = f"imap://anna%40home.test@{HOSTNAME}/INBOX"
DRAFT = b"From: anna@home.test\r\nSubject: draft\r\nBcc: secret@home.test\r\n\r\nHello Ben\r\n"


async def authorized(house, door, octets: bytes, rest: str = "/;UID=1", access: str = "submit+anna%40home.test") -> str:
    """The URL of a message that Anna keeps here, or of a part of it."""
    async with connect(house, door) as anna:
        await anna.append(octets)
        [line] = await anna.do(f'GENURLAUTH "{RUMP}{rest};URLAUTH={access}" INTERNAL')
        return line.decode().removeprefix('* GENURLAUTH "').removesuffix('"')


async def begin(caller, *recipients: str) -> None:
    await log_in(caller)
    assert (await caller.say("MAIL FROM:<anna@home.test>")).startswith("250")
    for recipient in recipients or ("ben@work.test",):
        assert (await caller.say(f"RCPT TO:<{recipient}>")).startswith("250")


@pytest.mark.parametrize("size", [0, 3 * PIECE])
async def test_a_draft_is_sent(house, door, store, size):
    """RFC 4468 §3.2; what a user sends is completed and loses its Bcc as always."""
    draft = DRAFT + b"x" * 70 + b"\r\n" + (b"y" * 78 + b"\r\n") * (size // 80)
    url = await authorized(house, door, draft)
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await begin(caller)
        assert await caller.say(f"BURL {url} LAST") == "250 2.0.0 Message accepted and stored"
        assert await caller.say("NOOP") == "250 2.0.0 OK"
    [kept] = await inbox(store, BEN)
    assert kept.endswith(draft.replace(b"Bcc: secret@home.test\r\n", b""))


async def test_pieces_and_chunks_together(house, door, store):
    """RFC 4468 §3.2: interleaved with BDAT."""
    url = await authorized(house, door, DRAFT, "/;UID=1/;SECTION=TEXT")
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await begin(caller)
        caller.octets(b"BDAT 42\r\nFrom: anna@home.test\r\nSubject: forward\r\n\r\n"[: len("BDAT 42\r\n") + 42])
        assert await caller.reply() == ["250 2.0.0 OK"]
        assert await caller.say(f"BURL {url}") == "250 2.5.0 Waiting for more BURL or BDAT"
        assert await caller.say(f"BURL {url}") == "250 2.5.0 Waiting for more BURL or BDAT"
        caller.octets(b"BDAT 5 LAST\r\nEnd\r\n")
        assert await caller.reply() == ["250 2.0.0 Message accepted and stored"]
    [kept] = await inbox(store, BEN)
    assert kept.endswith(b"Subject: forward\r\n\r\nHello Ben\r\nHello Ben\r\nEnd\r\n")


@pytest.mark.parametrize("access", ["submit+ben%40work.test", "user+anna%40home.test"])
async def test_what_was_given_to_others_or_for_reading(house, door, store, access):
    """RFC 4468 §3.3: submit+ and the user who is logged in, nothing else."""
    url = await authorized(house, door, DRAFT, access=access)
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await begin(caller)
        assert (await caller.say(f"BURL {url} LAST")).startswith("554-5.7.0")
        assert (await caller.say("RCPT TO:<ben@work.test>")).startswith("503")
    assert await inbox(store, BEN) == []


async def test_a_token_that_is_wrong(house, door, store):
    url = await authorized(house, door, DRAFT)
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await begin(caller)
        assert (await caller.say(f"BURL {url[:-1]}{'0' if url[-1] != '0' else '1'} LAST")).startswith("554-5.7.0")
    assert await inbox(store, BEN) == []


@pytest.mark.parametrize(
    ("octets", "rest", "answer"),
    [
        (DRAFT, "/;UID=1/;SECTION=7", "554 5.6.6"),
        (DRAFT + b"bare\nline\r\n", "/;UID=1", "550 5.6.0"),
        (DRAFT + b"x" * 5_000 + b"\r\n", "/;UID=1", "552 5.3.4"),
    ],
)
async def test_what_cannot_be_sent(house, door, store, octets, rest, answer):
    """RFC 4468 §6, RFC 5321 §2.3.8: what mail may not be, it may not be by a URL."""
    url = await authorized(house, door, octets, rest)
    house = replace(house, limits=replace(house.limits, message_size=4_000))
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await begin(caller)
        assert (await caller.say(f"BURL {url} LAST")).startswith(answer)
        assert (await caller.say("MAIL FROM:<anna@home.test>")).startswith("250")
    assert await inbox(store, BEN) == []


async def test_strangers_have_no_burl(house, door):
    async with call(house, door) as caller:
        await caller.begin()
        assert (await caller.say("BURL imap://x/y LAST")).startswith("500 5.5.2")
    assert len(await inbox(house.store, ANNA)) == 0
