"""serve/standing.py: a session ends with its login, whichever process changed that, and whatever it waits for."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable

import pytest

from caller import call, log_in
from household import ANNA, HELLO, INFO, credential
from posthouse.mail.address import Address
from posthouse.mail.ids import Millis
from posthouse.serve.login import Door
from posthouse.serve.passwords import device_digest, new_device_password
from posthouse.store import accounts, aliases, devices, emails, logins, renaming, totp
from posthouse.store.devices import NewDevice
from posthouse.store.script import Script, Unavailable
from posthouse.store.store import Store, open_sync
from posthouse.transport.house import House, SmtpRole
from serve.imap.dialogue import MESSAGE
from serve.imap.dialogue import connect as connect_imap
from serve.pop3.dialogue import connect as connect_pop3
from serve.pop3.dialogue import inbox_of
from store_rig import new_email

GONE = b"* BYE This login has been changed or removed; log in again."
SUBMISSION = SmtpRole.SUBMISSION
NOW = Millis(1_700_000_000_000)


@pytest.fixture
async def changes(store: Store) -> AsyncIterator[Callable[[Callable[[], Script[None]]], None]]:
    """Another process, which changes something: `posthouse user ...`, or another worker."""
    with open_sync(store.directory) as other:
        yield lambda verb: other.run(verb)


def another_password() -> Script[None]:
    """Another password for Anna."""
    yield from accounts.set_password(ANNA, credential("another"))


def removed() -> Script[None]:
    """Anna is no user any more."""
    for alias in (INFO, HELLO):
        yield from aliases.remove_alias(alias)
    yield from accounts.remove_account(ANNA)


def renamed() -> Script[None]:
    """Anna has another address."""
    yield from renaming.rename_user(ANNA, Address("anne", ANNA.domain), keep=True)


@pytest.mark.parametrize("change", [another_password, removed, renamed])
async def test_an_imap_session_in_idle_ends_at_once(house: House, door: Door, changes, change) -> None:
    """Whatever mailbox is selected, or none, and however short ago the last look was."""
    async with connect_imap(house, door) as client, connect_imap(house, door) as selected:
        await selected.do("SELECT INBOX")
        for each in (client, selected):
            each.write("IDLE")
            assert (await each.response()).startswith(b"+ ")
        changes(change)
        for each in (client, selected):
            assert await each.response() == GONE
            assert await each.closed()


async def test_an_imap_session_ends_between_two_commands(house: House, door: Door, changes) -> None:
    async with connect_imap(house, door) as client:
        changes(another_password)
        assert await client.response() == GONE
        assert await client.closed()


async def test_idle_in_the_mailbox_of_another_ends(house: House, door: Door, store: Store, changes) -> None:
    """Hints about that mailbox are of another account."""
    async with connect_imap(house, door, user="ben@work.test") as ben, connect_imap(house, door) as anna:
        await ben.do("SETACL INBOX anna@home.test lr")
        await anna.do('SELECT "Other Users/ben@work.test/INBOX"')
        anna.write("IDLE")
        assert (await anna.response()).startswith(b"+ ")
        changes(another_password)
        assert await anna.response() == GONE
        await ben.do("NOOP")


async def test_a_pop3_session_ends_between_two_commands(house: House, door: Door, store: Store, changes) -> None:
    """And what it marked stays, for QUIT was not said (RFC 1939 §6)."""
    box = await inbox_of(store)
    await store.run(emails.add, box, [new_email(store, MESSAGE)])
    async with connect_pop3(house, door) as client:
        assert (await client.say("DELE 1")).startswith(b"+OK")
        changes(another_password)
        assert (await client.line()).startswith(b"-ERR [AUTH] This login has been changed")
        assert await client.closed()
    async with connect_imap(house, door, user="ben@work.test"):
        pass
    assert len(await store.read(emails.fetch, box, emails.ALL, ())) == 1


@pytest.mark.parametrize("said", [(), ("MAIL FROM:<anna@home.test>", "RCPT TO:<ben@work.test>", "DATA", "Subject: x")])
async def test_submission_ends_also_within_a_message(house: House, door: Door, store: Store, changes, said) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        for line in said[:3]:
            assert (await caller.say(line))[0] in "23"
        caller.write(*said[3:])
        changes(another_password)
        assert await caller.reply() == ["421 4.7.0 This login has been changed or removed; log in again"]
        caller.write("", "and more", ".")
        assert await caller.closed()
    assert not await store.read(emails.fetch, await inbox_of(store, "ben@work.test"), emails.ALL, ())


async def test_only_what_a_device_password_opened_ends_when_it_is_revoked(house: House, door: Door, store, changes):
    key = new_device_password()
    digest = device_digest(key.encode())
    scram = credential().scram_sha256
    await store.run(devices.add, ANNA, NewDevice("phone", frozenset(devices.SERVICES), None, digest, scram), NOW)
    async with connect_imap(house, door) as own, connect_imap(house, door, user=None) as phone:
        await phone.do(f"LOGIN anna@home.test {key}")
        for each in (own, phone):
            each.write("IDLE")
            assert (await each.response()).startswith(b"+ ")

        def revoked() -> Script[None]:
            yield from devices.revoke(ANNA, "phone")

        changes(revoked)
        assert await phone.response() == GONE
        own.writer.write(b"DONE\r\n")
        await own.until(b"t2")
        assert own.last.startswith(b"OK")


async def test_what_a_device_password_opened_ends_when_it_is_over(house: House, door: Door, store: Store) -> None:
    """At its moment, though nobody says a word and nothing is changed."""
    key, now = new_device_password(), [NOW]
    scram, end = credential().scram_sha256, Millis(NOW + 20)
    new = NewDevice("phone", frozenset(devices.SERVICES), end, device_digest(key.encode()), scram)
    await store.run(devices.add, ANNA, new, NOW)
    door.logbook.clock = lambda: now[0]
    async with (
        connect_imap(house, door, user=None) as imap,
        connect_pop3(house, door, user=None) as pop3,
        call(house, door, SUBMISSION) as smtp,
        connect_imap(house, door) as own,
    ):
        await imap.do(f"LOGIN anna@home.test {key}")
        imap.write("IDLE")
        assert (await imap.response()).startswith(b"+ ")
        await pop3.say("USER anna@home.test")
        assert (await pop3.say(f"PASS {key}")).startswith(b"+OK")
        await smtp.say("EHLO client.test")
        said = base64.b64encode(f"\0anna@home.test\0{key}".encode()).decode()
        assert (await smtp.say(f"AUTH PLAIN {said}")).startswith("235")
        await asyncio.sleep(0.1)
        assert (await pop3.say("NOOP")).startswith(b"+OK")  # the clock of the house has not come so far
        now[0] = end
        assert await imap.response() == GONE
        assert (await pop3.line()).startswith(b"-ERR [AUTH] This login has been changed")
        assert await smtp.reply() == ["421 4.7.0 This login has been changed or removed; log in again"]
        await own.do("NOOP")


async def test_a_second_factor_shuts_out_passwords_where_it_is_wanted(house: House, door: Door, changes) -> None:
    door.devices_with_totp = True
    async with connect_imap(house, door) as client:

        def enabled() -> Script[None]:
            yield from totp.enable(ANNA, b"secret", (), NOW)

        changes(enabled)
        assert await client.response() == GONE


async def test_mail_that_comes_is_no_doubt(house: House, door: Door, store: Store, monkeypatch) -> None:
    """What happens in a mailbox must not make each session of its user ask whether its login holds."""
    looks: list[object] = []

    async def holds(login: object) -> bool:
        looks.append(login)
        return True

    monkeypatch.setattr(door, "holds", holds)
    async with connect_pop3(house, door), connect_imap(house, door), call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        await store.run(emails.add, await inbox_of(store), [new_email(store, MESSAGE)])
        await asyncio.sleep(0.2)
        assert looks == []


async def test_a_change_is_not_forgotten_while_the_store_does_not_answer(
    house: House, door: Door, monkeypatch: pytest.MonkeyPatch, changes
) -> None:
    holds, asked = door.holds, asyncio.Event()

    async def down(login: object) -> bool:
        asked.set()
        raise Unavailable("the disk is away")

    async with (
        connect_pop3(house, door) as pop3,
        call(house, door, SUBMISSION) as smtp,
        connect_imap(house, door) as imap,
    ):
        await log_in(smtp)
        with monkeypatch.context() as away:
            away.setattr(door, "holds", down)
            changes(another_password)
            await asyncio.wait_for(asked.wait(), 60)
            await asyncio.sleep(0.1)
        monkeypatch.setattr(door, "holds", holds)
        assert (await pop3.say("NOOP")).startswith(b"-ERR [AUTH]")
        assert (await smtp.say("NOOP")).startswith("421 4.7.0")
        imap.write("NOOP")
        assert await imap.response() == GONE


async def test_who_has_gone_is_watched_no_more(house: House, door: Door, store: Store) -> None:
    account = (await inbox_of(store)).account
    async with connect_pop3(house, door), connect_imap(house, door) as imap, call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        assert len(store._watchers[logins.sign_in_of(account)]) == 3
        await imap.do("UNAUTHENTICATE")
        assert len(store._watchers[logins.sign_in_of(account)]) == 2
    assert logins.sign_in_of(account) not in store._watchers
