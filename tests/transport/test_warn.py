"""Warnings of full mailboxes: once at each percentage, again only after there was room, never twice."""

import asyncio
from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest

from household import ANNA, BEN, HOSTNAME, NOW, inbox
from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import AccountId
from posthouse.mail.size import in_words
from posthouse.store import accounts, emails, mailboxes, quota
from posthouse.store.emails import ALL
from posthouse.store.quota import Account, Limits, Quota, Rules, Usage, Whose
from posthouse.store.store import Store
from posthouse.transport.accept import accept, prepare
from posthouse.transport.house import House, QuotaPolicy
from posthouse.transport.warn import print_warning, warn_everybody

OCTETS = b"From: ben@work.test\r\nSubject: Hello\r\n\r\n" + b"lorem ipsum\r\n" * 100  # more than a letter of ours has


@pytest.fixture
def house(store: Store) -> House:
    """Ten messages make a mailbox full."""
    return House(store, HOSTNAME, lambda: NOW, quota=QuotaPolicy(Rules(Limits(None, 10))))


async def account(store: Store, address: Address = ANNA) -> AccountId:
    found = await store.read(accounts.find, address)
    assert found is not None
    return found.account


async def fill(store: Store, count: int) -> None:
    """So many messages more for Anna."""
    for _ in range(count):
        await store.run(accept, await prepare(store, OCTETS, NOW), [await account(store)])


async def empty(store: Store) -> None:
    row = await store.read(mailboxes.find, await account(store), "INBOX")
    assert row is not None
    await store.run(emails.expunge, row.box, ALL, marked=False)


async def subjects(store: Store) -> list[str]:
    """Of the letters that came."""
    letters = [message_from_bytes(octets, policy=default) for octets in await inbox(store, ANNA)]
    return [letter["Subject"] for letter in letters if letter["Auto-Submitted"]]


async def test_once_at_each_percentage(house: House, store: Store) -> None:
    await fill(store, 7)
    assert await warn_everybody(house) == 0
    await fill(store, 1)
    assert await warn_everybody(house) == 1
    assert await warn_everybody(house) == 0  # the letter itself is the ninth
    assert await subjects(store) == ["Your mailbox is 80 % full"]
    await fill(store, 1)
    assert await warn_everybody(house) == 1
    assert await warn_everybody(house) == 0
    assert await subjects(store) == ["Your mailbox is 80 % full", "Your mailbox is 100 % full"]  # let in all the same
    assert await inbox(store, BEN) == []


async def test_it_lies_there_as_any_notice_does(house: House, store: Store) -> None:
    """RFC 5321 §4.4, §4.5.5: the first line says that nobody wants an answer; RFC 3834 §5: nobody wrote it."""
    await fill(store, 8)
    assert await warn_everybody(house) == 1
    [octets] = [each for each in await inbox(store, ANNA) if b"Auto-Submitted: " in each]
    assert octets.startswith(b"Return-Path: <>\r\nFrom: Mail server <postmaster@")
    letter = message_from_bytes(octets, policy=default)
    for name in ("Return-Path", "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"):
        assert len(letter.get_all(name)) == 1, name
    assert letter["Message-ID"].endswith(f"@{HOSTNAME}>")


async def test_again_only_after_there_was_room(house: House, store: Store) -> None:
    await fill(store, 8)
    assert await warn_everybody(house) == 1
    await empty(store)
    await fill(store, 8)
    assert await warn_everybody(house) == 0  # nobody saw it below
    await empty(store)
    assert await warn_everybody(house) == 0
    await fill(store, 8)
    assert await warn_everybody(house) == 1


async def test_both_at_once_are_one_letter(house: House, store: Store) -> None:
    await fill(store, 10)
    assert await warn_everybody(house) == 1
    assert await subjects(store) == ["Your mailbox is 100 % full"]


async def test_a_new_limit_is_a_reason_too(house: House, store: Store) -> None:
    await fill(store, 4)
    assert await warn_everybody(house) == 0
    await store.run(quota.set_limits, Whose(await account(store)), Limits(messages=5))
    assert await warn_everybody(house) == 1


async def test_two_who_look_at_once_tell_it_once(house: House, store: Store) -> None:
    """A worker that was put in the place of another, which still lives."""
    await fill(store, 8)
    other = await Store.open(store.directory)
    told = await asyncio.gather(
        *[warn_everybody(one) for one in (house, replace(house, store=other)) for _ in range(3)]
    )
    await other.close()
    assert sum(told) == 1
    assert len(await subjects(store)) == 1


async def test_nobody_is_warned_where_the_settings_name_no_percentage(house: House, store: Store) -> None:
    await fill(store, 10)
    assert await warn_everybody(replace(house, quota=replace(house.quota, warnings=()))) == 0


def test_the_letter() -> None:
    root = Quota(Usage(412 << 20, 1_234, 9), Limits(500 << 20, 2_000, 5_000))
    anna = Account(AccountId(7), ANNA, root, 0)
    octets = print_warning(anna, [("INBOX", 400 << 20, 1_000), ("Trash", 12 << 20, 1)], HOSTNAME, NOW)
    letter = message_from_bytes(octets, policy=default)
    assert letter["From"] == f"Mail server <postmaster@{HOSTNAME}>"
    assert letter["To"] == str(ANNA)
    assert letter["Subject"] == "Your mailbox is 82 % full"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Date"].datetime.timestamp() * 1000 == NOW
    text = letter.get_content().replace("\r\n", "\n")
    for piece in (
        "412 MiB of 500 MiB, and",
        "  INBOX: 400 MiB in 1,000 messages",
        "  Trash: 12 MiB in 1 message\n",
        "Empty the Trash",
        f"postmaster@{HOSTNAME}",
    ):
        assert piece in text
    assert max(map(len, text.splitlines())) <= 78


def test_a_letter_to_an_address_outside_ascii() -> None:
    """RFC 6532 §3."""
    user = Account(AccountId(7), Address("jürgen", Domain("home.test")), Quota(Usage(9), Limits(10)), 0)
    octets = print_warning(user, [("Entwürfe", 9, 1)], HOSTNAME, NOW)
    assert "To: <jürgen@home.test>\r\n".encode() in octets
    letter = message_from_bytes(octets, policy=default)
    assert "Entwürfe: 9 octets in 1 message" in letter.get_content()


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (0, "0 octets"),
        (1, "1 octet"),
        (1_023, "1023 octets"),
        (1_024, "1 KiB"),
        (1_536, "1.5 KiB"),
        (10_300, "10 KiB"),
        (412 << 20, "412 MiB"),
        ((500 << 20) - 1, "499 MiB"),
        (1 << 30, "1 GiB"),
        ((1 << 63) - 1, "7.9 EiB"),
    ],
)
def test_sizes_in_words(octets: int, words: str) -> None:
    assert in_words(octets) == words


async def test_a_user_who_is_gone_meanwhile(house: House, store: Store) -> None:
    assert await store.read(quota.warned, AccountId(999), house.quota.rules) is None
