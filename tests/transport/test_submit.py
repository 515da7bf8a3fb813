"""transport/submit.py: what a submission agent does for its users (RFC 6409 §6, §8; S4 of limits.md)."""

import re
from dataclasses import replace

import pytest

from household import ANNA, BEN, HELLO, HOSTNAME, INFO, NOW
from posthouse.mail.address import Address, Domain
from posthouse.mail.header import FIELDS, header_end
from posthouse.mail.status import Reply, reply
from posthouse.store import accounts
from posthouse.store.accounts import Login
from posthouse.store.store import Store
from posthouse.transport.house import House
from posthouse.transport.spool import kept
from posthouse.transport.submit import (
    BAD_FROM,
    NOT_YOUR_ADDRESS,
    NOT_YOUR_FROM,
    NOT_YOUR_SENDER,
    TOO_MANY_FIELDS,
    UNREADABLE_FROM,
    complete,
    may_send,
)

DATE = b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
IDENT = b"Message-ID: <x@home.test>\r\n"
WHOLE = b"From: Anna <anna@home.test>\r\n" + DATE + IDENT


@pytest.fixture
async def anna(store: Store) -> Login:
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    return login


async def completed(header: bytes, login: Login, house: House) -> bytes | Reply:
    """The message after submission, or its refusal."""
    octets = header + b"\r\nbody\r\n"
    edit = await complete(octets, header_end(octets), login, NOW, house)
    if isinstance(edit, Reply):
        return edit
    whole = edit.front + b"".join(kept(octets, edit.changes))
    assert whole.endswith(b"\r\n\r\nbody\r\n")
    return whole.removesuffix(b"\r\nbody\r\n")


@pytest.mark.parametrize(
    ("address", "mine"),
    [
        (ANNA, True),
        (HELLO, True),
        (INFO, True),
        (Address("anna+shop", Domain("home.test")), True),
        (BEN, False),
        (Address("anna", Domain("work.test")), False),
        (Address("anna", Domain("elsewhere.test")), False),
    ],
)
async def test_whose_address_it_is(house: House, anna: Login, address: Address, mine: bool) -> None:
    assert await may_send(anna, address, house) == (None if mine else NOT_YOUR_ADDRESS)


async def test_a_whole_message_is_not_changed(house: House, anna: Login) -> None:
    header = WHOLE + b"X-Odd :  spacing\t\r\n  kept\r\nSubject: =?utf-8?q?x?=\r\n"
    assert await completed(header, anna, house) == header


async def test_missing_fields_are_added(house: House, anna: Login) -> None:
    """RFC 6409 §8.2, §8.3; RFC 5322 §3.6."""
    result = await completed(b"Subject: x\r\n", anna, house)
    assert isinstance(result, bytes)
    assert re.fullmatch(
        rb"From: <anna@home\.test>\r\nDate: Tue, 14 Nov 2023 22:13:20 \+0000\r\n"
        rb"Message-ID: <[0-9a-f]{32}@mail\.home\.test>\r\nSubject: x\r\n",
        result,
    )
    assert HOSTNAME == "mail.home.test"


async def test_hidden_recipients_are_taken_out(house: House, anna: Login) -> None:
    """RFC 5322 §3.6.3, also folded and in odd spelling."""
    header = b"BCC: ben@work.test,\r\n\tx@home.test\r\n" + WHOLE + b"bcc:\r\nTo: y\r\nResent-Bcc: z\r\n"
    assert await completed(header, anna, house) == WHOLE + b"To: y\r\n"


@pytest.mark.parametrize(
    "value",
    [
        b"anna@home.test",
        b"ANNA@HOME.TEST",
        b"Anna <hello@home.test>",
        b"Anna <anna+x@home.test>, info@home.test",
        b'"ben@work.test" <anna@home.test>',
    ],
)
async def test_authors_who_are_the_user(house: House, anna: Login, value: bytes) -> None:
    header = b"From: " + value + b"\r\n" + DATE + IDENT
    assert await completed(header, anna, house) == header


@pytest.mark.parametrize(
    "value",
    [
        b"ben@work.test",
        b"Anna <ben@work.test>",
        b"anna@home.test, ben@work.test",
        b"x@elsewhere.test",
        b'"anna@home.test" <ben@work.test>',
        b"Group: ben@work.test;",
        b"anna, ben@work.test",
    ],
)
async def test_authors_who_are_somebody_else(house: House, anna: Login, value: bytes) -> None:
    header = b"From: " + value + b"\r\n" + DATE + IDENT
    assert await completed(header, anna, house) == NOT_YOUR_FROM
    named = await completed(header, anna, replace(house, add_sender=True))
    assert named == b"Sender: <anna@home.test>\r\n" + header


@pytest.mark.parametrize("header", [b"From: anna@home.test\r\nFrom: ben@work.test\r\n", b"From:\r\n", b"From: ,;\r\n"])
async def test_a_message_has_one_from(house: House, anna: Login, header: bytes) -> None:
    assert await completed(header, anna, house) == BAD_FROM


@pytest.mark.parametrize("value", [b"garbage", b"Anna", b"anna at home.test", b"<anna>"])
async def test_a_from_that_is_no_address(house: House, anna: Login, value: bytes) -> None:
    header = b"From: " + value + b"\r\n" + DATE + IDENT
    assert await completed(header, anna, house) == UNREADABLE_FROM
    named = await completed(header, anna, replace(house, add_sender=True))
    assert named == b"Sender: <anna@home.test>\r\n" + header


async def test_a_sender_who_is_somebody_else(house: House, anna: Login) -> None:
    """RFC 6409 §6.1, §8.1: refused, or left out where the setting says so."""
    naming = replace(house, add_sender=True)
    for name in (b"Sender", b"Resent-Sender"):
        mine = WHOLE + name + b": hello@home.test\r\n"
        assert await completed(mine, anna, house) == mine
        for value in (b"ben@work.test", b"Boss <boss@elsewhere.test>", b"garbage"):
            theirs = WHOLE + name + b": " + value + b"\r\n"
            assert await completed(theirs, anna, house) == NOT_YOUR_SENDER
            assert await completed(theirs, anna, naming) == WHOLE
    foreign = b"From: x@elsewhere.test\r\n" + DATE + IDENT
    both = foreign + b"Sender: boss@elsewhere.test\r\n"
    assert await completed(both, anna, house) == NOT_YOUR_FROM
    assert await completed(both, anna, naming) == b"Sender: <anna@home.test>\r\n" + foreign


async def test_a_message_sent_on_keeps_its_author(house: House, anna: Login) -> None:
    """RFC 5322 §3.6.6: mutt's bounce."""
    original = b"From: x@elsewhere.test\r\n" + DATE + IDENT
    sent_on = b"Resent-From: anna@home.test\r\n" + original
    assert await completed(sent_on, anna, house) == sent_on
    assert await completed(b"Resent-From: ben@work.test\r\n" + original, anna, house) == NOT_YOUR_FROM
    listed = sent_on + b"Sender: list@elsewhere.test\r\n"
    assert await completed(listed, anna, house) == listed
    assert await completed(b"Resent-Sender: ben@work.test\r\n" + listed, anna, house) == NOT_YOUR_SENDER


async def test_long_lines_of_the_header_are_folded(house: House, anna: Login) -> None:
    """RFC 6409 §8, RFC 5322 §2.1.1: a hundred people on one line; a hidden field goes whole."""
    people = b", ".join(b"person%d@elsewhere.test" % number for number in range(100))
    result = await completed(b"Bcc: " + people + b"\r\n" + WHOLE + b"To: " + people + b"\r\n", anna, house)
    assert isinstance(result, bytes)
    assert result.replace(b"\r\n ", b" ") == WHOLE + b"To: " + people + b"\r\n"
    assert max(map(len, result.split(b"\r\n"))) <= 78


async def test_a_line_that_cannot_be_folded_is_refused(house: House, anna: Login) -> None:
    result = await completed(WHOLE + b"X-Token: " + b"x" * 1_000 + b"\r\n", anna, house)
    assert result == reply(
        550, "5.6.0", "The field X-Token of the header has a line of more than 998 octets and no blank to fold it at"
    )


async def test_nothing_hides_behind_a_thousand_fields(house: House, anna: Login) -> None:
    header = b"X: y\r\n" * FIELDS + b"From: ben@work.test\r\n"
    assert await completed(header, anna, house) == TOO_MANY_FIELDS
