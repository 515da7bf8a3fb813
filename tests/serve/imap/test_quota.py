"""Quotas by IMAP: in open sessions, of shared mailboxes, by all that brings messages in (RFC 9208 §3.2, §6)."""

from dataclasses import replace

import pytest

from household import ANNA, BEN
from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId
from posthouse.serve.login import Door
from posthouse.store import accounts, quota
from posthouse.store.quota import UNLIMITED, Limits, Rules, Whose
from posthouse.store.store import Store
from posthouse.transport.house import House, QuotaPolicy
from serve.imap.dialogue import MESSAGE, connect

FULL = b"NO [OVERQUOTA] The mailbox is full; make room in it, or ask for more."
SHARED = '"Other Users/anna@home.test/INBOX"'
SMALL = b"A: b\r\n\r\n"


@pytest.fixture
def house(house: House) -> House:
    """With an overdraft of one small message."""
    rules = Rules(overdraft_percent=0, overdraft_octets=len(SMALL), overdraft_messages=1)
    return replace(house, quota=QuotaPolicy(rules, administrators=frozenset({str(BEN)})))


async def account(store: Store, address: Address) -> AccountId:
    found = await store.read(accounts.find, address)
    assert found is not None
    return found.account


async def limit(store: Store, address: Address, octets: int = UNLIMITED, messages: int = UNLIMITED) -> None:
    await store.run(quota.set_limits, Whose(await account(store, address)), Limits(octets, messages))


def append(*messages: bytes, mailbox: str = "INBOX") -> bytes:
    literals = b"".join(b" {%d+}\r\n%b" % (len(message), message) for message in messages)
    return b"APPEND %b%b" % (mailbox.encode(), literals)


async def test_a_new_limit_holds_at_once_in_open_sessions(house: House, door: Door, store: Store) -> None:
    """Set from the command line and by an administrator's session."""
    async with connect(house, door) as anna, connect(house, door, user=str(BEN)) as ben:
        await anna.do(append(SMALL))
        await limit(store, ANNA, messages=1)
        assert await anna.fails(append(SMALL)) == FULL
        assert await anna.do("GETQUOTA anna@home.test") == [b"* QUOTA anna@home.test (MESSAGE 1 1 MAILBOX 6 5000)"]
        await ben.do("SETQUOTA Anna@home.test (MESSAGE 2)")
        assert await anna.do("GETQUOTAROOT INBOX") == [
            b"* QUOTAROOT INBOX anna@home.test",
            b"* QUOTA anna@home.test (MESSAGE 1 2 MAILBOX 6 5000)",
        ]
        await anna.do(append(SMALL))
        assert await anna.fails(append(SMALL)) == FULL


async def test_a_guest_uses_the_room_of_the_owner(house: House, door: Door, store: Store) -> None:
    """The owner's root is shown to who may read the mailbox, and to nobody by GETQUOTA (RFC 9208 §6)."""
    guests = replace(house, quota=QuotaPolicy(house.quota.rules))
    await limit(store, ANNA, messages=2)
    await limit(store, BEN, messages=1)
    async with connect(guests, door) as anna, connect(guests, door, user=str(BEN)) as ben:
        await anna.do(append(SMALL))
        await anna.do("SETACL INBOX ben@work.test li")
        assert (await ben.fails(f"GETQUOTAROOT {SHARED}")).startswith(b"NO [NOPERM]")
        await anna.do("SETACL INBOX ben@work.test lrite")
        assert await ben.do(f"GETQUOTAROOT {SHARED}") == [
            b"* QUOTAROOT " + SHARED.encode() + b" anna@home.test",
            b"* QUOTA anna@home.test (MESSAGE 1 2 MAILBOX 6 5000)",
        ]
        assert (await ben.fails("GETQUOTA anna@home.test")).startswith(b"NO [NONEXISTENT]")
        await ben.do(append(SMALL, mailbox=SHARED))
        assert await ben.fails(append(SMALL, mailbox=SHARED)) == FULL
        await ben.do(append(SMALL))
        await ben.do("SELECT INBOX")
        assert await ben.fails(f"COPY 1 {SHARED}") == FULL
        assert await ben.fails(f"MOVE 1 {SHARED}") == FULL
        await ben.do(f"SELECT {SHARED}")
        assert await ben.fails("COPY 1 INBOX") == FULL
        await ben.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await ben.do("EXPUNGE")
        assert await ben.do("GETQUOTA ben@work.test") == [b"* QUOTA ben@work.test (MESSAGE 1 1 MAILBOX 6 5000)"]
        await ben.do("SELECT INBOX")
        await ben.do(f"MOVE 1 {SHARED}")
        assert await ben.do("GETQUOTA ben@work.test") == [b"* QUOTA ben@work.test (MESSAGE 0 1 MAILBOX 6 5000)"]


async def test_several_of_one_append_count_together(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, octets=3 * len(SMALL))
    async with connect(house, door) as client:
        assert await client.fails(append(*[SMALL] * 4)) == FULL
        await client.do(append(*[SMALL] * 3))
        await client.do("SELECT INBOX")
        await client.do("MOVE 1:* Archive")
        assert await client.fails(append(SMALL)) == FULL


async def test_the_second_of_an_append_is_refused_before_it_comes(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, messages=1)
    async with connect(house, door) as client:
        tag = client.write(b"APPEND INBOX {%d}" % len(SMALL))
        assert (await client.response()).startswith(b"+")
        client.writer.write(SMALL + b" {%d}\r\n" % len(SMALL))
        await client.until(tag)
        assert client.last == FULL


async def test_what_urls_bring_counts(house: House, door: Door, store: Store) -> None:
    """CATENATE: before the octets are copied (RFC 4469)."""
    async with connect(house, door) as client:
        await client.do(append(MESSAGE))
        await limit(store, ANNA, octets=2 * len(MESSAGE))
        url = 'CATENATE (URL "/INBOX/;UID=1")'
        await client.do(f"APPEND INBOX {url}")
        assert await client.fails(f"APPEND INBOX {url}") == FULL


async def test_a_draft_may_be_saved_again_when_all_is_full(house: House, door: Door, store: Store) -> None:
    """REPLACE by what is no larger (RFC 8508); a larger one is refused, and the old one stays."""
    async with connect(house, door) as client:
        await client.do(append(MESSAGE, mailbox="Drafts"))
        await limit(store, ANNA, octets=10)
        await client.do("SELECT Drafts")
        smaller, larger = MESSAGE[:-10], MESSAGE + b"x"
        assert await client.fails(b"REPLACE 1 Drafts {%d+}\r\n%b" % (len(larger), larger)) == FULL
        await client.do(b"REPLACE 1 Drafts {%d+}\r\n%b" % (len(smaller), smaller))
        tag = client.write(b"REPLACE 1 Drafts {%d}" % len(smaller))  # and asked first
        assert (await client.response()).startswith(b"+")
        client.writer.write(smaller + b"\r\n")
        await client.until(tag)
        assert client.last.startswith(b"OK")


async def test_the_trash_may_use_the_overdraft_and_no_more(house: House, door: Door, store: Store) -> None:
    async with connect(house, door) as client:
        await client.do(append(SMALL))
        await limit(store, ANNA, octets=len(SMALL))
        await client.do("SELECT INBOX")
        assert await client.fails("COPY 1 Archive") == FULL
        told = await client.do("COPY 1 Trash")
        assert [line.startswith(b"* NO [OVERQUOTA] ") for line in told] == [True]
        assert await client.fails("COPY 1 Trash") == FULL


async def test_nothing_is_said_before_the_login(house: House, door: Door) -> None:
    """RFC 9208 §8."""
    async with connect(house, door, user=None) as client:
        for command in ("GETQUOTA anna@home.test", "GETQUOTAROOT INBOX", "SETQUOTA anna@home.test ()"):
            assert (await client.fails(command)).startswith(b"BAD")
