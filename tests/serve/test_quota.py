"""Full mailboxes at RCPT and after the dot, by SMTP, submission and LMTP, and from the queue (RFC 5321 §3.6.2, RFC 1870
§6.1, RFC 2033 §4.2)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from caller import MESSAGE, Caller, call, log_in
from household import ANNA, BEN, INFO, NOW, inbox
from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import AccountId, Millis
from posthouse.mail.outcome import Action
from posthouse.net.directory import Person
from posthouse.serve.login import Door
from posthouse.store import accounts, emails, journal, mailboxes, queue, quota
from posthouse.store.emails import ALL
from posthouse.store.moment import Moment
from posthouse.store.queue import Claimed
from posthouse.store.quota import UNLIMITED, Limits, Rules, Whose
from posthouse.store.store import Store
from posthouse.transport import journey
from posthouse.transport.directory import Directory, DirectoryLimits
from posthouse.transport.home import deliver
from posthouse.transport.house import House, QuotaPolicy, SmtpRole
from posthouse.transport.letter import take_letter
from posthouse.transport.route import Routes

FULL = "452 4.2.2 The mailbox is full; try again later"
FULL_FOR_GOOD = "552 5.2.2 The mailbox is full; reach its owner by another way"
TAKEN = "250 2.0.0 Message accepted and stored"
RCPT_OK = "250 2.1.5 Recipient accepted"
RULES = Rules(overdraft_percent=0, overdraft_octets=2_000, overdraft_messages=2)
LARGE = MESSAGE + b"\r\n" + b"lorem ipsum dolor sit amet\r\n" * 200


@pytest.fixture
def house(house: House) -> House:
    """With a small overdraft."""
    return replace(house, quota=QuotaPolicy(RULES))


async def account(store: Store, address: Address) -> AccountId:
    found = await store.read(accounts.find, address)
    assert found is not None
    return found.account


async def limit(store: Store, address: Address, octets: int = UNLIMITED, messages: int = UNLIMITED) -> None:
    """What one of them may keep."""
    await store.run(quota.set_limits, Whose(await account(store, address)), Limits(octets, messages))


async def fill(house: House, door: Door, to: Address) -> None:
    """One message."""
    async with call(house, door) as caller:
        await caller.begin(recipients=[str(to)])
        assert await caller.message(MESSAGE) == TAKEN


async def empty(store: Store, address: Address) -> None:
    whose = await account(store, address)
    row = await store.read(mailboxes.find, whose, "INBOX")
    assert row is not None
    await store.run(emails.expunge, row.box, ALL, marked=False)


async def ready(store: Store) -> list[Claimed]:
    return (await store.run(queue.claim, Moment(NOW, Millis(0), "boot"), 7, 100, 1_000)).items


async def asked(caller: Caller, recipients: Sequence[str], parameters: str = "") -> list[str]:
    """What is said to MAIL's recipients."""
    assert (await caller.say(f"MAIL FROM:<zoe@far.test>{parameters}")).startswith("250")
    answers = [await caller.say(f"RCPT TO:<{path}>") for path in recipients]
    await caller.say("RSET")
    return answers


async def test_a_full_mailbox_is_refused_at_rcpt_until_there_is_room(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, messages=1)
    await fill(house, door, ANNA)
    async with call(replace(house, routes=Routes(lambda: 0.0)), door) as caller:  # what it remembers never ages
        await caller.say("EHLO far.test")  # but nobody is refused by an old look
        assert await asked(caller, [str(ANNA), str(BEN), "anna+tag@home.test"]) == [FULL, RCPT_OK, FULL]
        await empty(store, ANNA)
        assert await asked(caller, [str(ANNA)]) == [RCPT_OK]
        await fill(house, door, ANNA)
        assert await asked(caller, [str(ANNA)]) == [FULL]


class Nobody:
    """A directory without users."""

    def find(self, address: Address) -> Person | None:
        return None

    def close(self) -> None:
        pass

    def prove(self, address: Address, password: str) -> Person | None:
        return None


async def test_full_at_rcpt_beside_a_directory_too(house: House, door: Door, store: Store) -> None:
    """Nothing was remembered of those whom the directory was asked about."""
    await limit(store, ANNA, messages=1)
    await fill(house, door, ANNA)
    directory = Directory(Nobody(), store, DirectoryLimits())
    async with call(replace(house, directory=directory, routes=Routes()), door) as caller:
        await caller.say("EHLO far.test")
        assert await asked(caller, [str(ANNA), str(BEN)]) == [FULL, RCPT_OK]
    directory.close()


async def test_an_old_look_may_promise_and_the_transaction_looks_again(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, messages=1)
    async with call(replace(house, routes=Routes(lambda: 0.0)), door) as caller:
        await caller.say("EHLO far.test")
        assert await asked(caller, [str(ANNA)]) == [RCPT_OK]
        await fill(house, door, ANNA)
        assert (await caller.say("MAIL FROM:<zoe@far.test>")).startswith("250")
        assert await caller.say(f"RCPT TO:<{ANNA}>") == RCPT_OK
        for answer in (TAKEN, TAKEN, FULL):  # the overdraft has room for two
            assert await caller.message(MESSAGE) == answer
            await caller.say("MAIL FROM:<zoe@far.test>")
            assert await caller.say(f"RCPT TO:<{ANNA}>") == RCPT_OK
    assert len(await inbox(store, ANNA)) == 3


async def test_refused_for_good_where_the_settings_say_so(house: House, door: Door, store: Store) -> None:
    """It is no mistake of the peer, however often it is asked."""
    house = replace(house, quota=QuotaPolicy(RULES, permanent=True))
    await limit(store, ANNA, messages=0)
    async with call(house, door) as caller:
        await caller.say("EHLO far.test")
        assert await asked(caller, [str(ANNA)] * 30) == [FULL_FOR_GOOD] * 30


async def test_the_size_that_mail_says_counts(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, octets=1_000)
    async with call(house, door) as caller:
        await caller.say("EHLO far.test")
        assert await asked(caller, [str(ANNA)], " SIZE=3000") == [RCPT_OK]  # as far as the overdraft goes
        assert await asked(caller, [str(ANNA)], " SIZE=3001") == [FULL]
        assert await asked(caller, [str(BEN)], " SIZE=3001") == [RCPT_OK]


async def test_an_alias_is_full_when_all_behind_it_are(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, messages=0)
    async with call(house, door) as caller:
        await caller.say("EHLO far.test")
        assert await asked(caller, [str(INFO), "hello@home.test"]) == [RCPT_OK, FULL]
        await limit(store, BEN, messages=0)
        await asyncio.sleep(0)
    async with call(replace(house, routes=Routes()), door) as caller:
        await caller.say("EHLO far.test")
        assert await asked(caller, [str(INFO)]) == [FULL]


async def test_users_are_told_the_same(house: House, door: Door, store: Store) -> None:
    await limit(store, BEN, messages=0)
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await log_in(caller)
        assert (await caller.say(f"MAIL FROM:<{ANNA}>")).startswith("250")
        assert await caller.say(f"RCPT TO:<{BEN}>") == FULL


async def test_what_was_promised_is_let_into_the_overdraft(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, octets=600)
    await fill(house, door, ANNA)
    await fill(house, door, ANNA)
    async with call(house, door) as caller:
        await caller.begin(recipients=[str(ANNA)])
        assert await caller.message(MESSAGE) == TAKEN
    async with call(replace(house, routes=Routes()), door) as caller:
        await caller.say("EHLO far.test")
        assert await asked(caller, [str(ANNA)]) == [FULL]
    assert len(await inbox(store, ANNA)) == 3


async def test_who_has_no_room_at_all_is_refused_after_the_dot(house: House, door: Door, store: Store) -> None:
    """Nobody knew the size before; nobody has the message."""
    await limit(store, ANNA, octets=1_000)
    async with call(house, door) as caller:
        await caller.begin(recipients=[str(ANNA)])
        assert await caller.message(LARGE) == FULL
        assert await asked(caller, [str(ANNA)]) == [RCPT_OK]  # small mail has room
    assert await inbox(store, ANNA) == []
    assert await ready(store) == []


@pytest.mark.parametrize("recipients", [[str(ANNA), str(BEN)], [str(INFO)]])
async def test_the_others_have_it_and_the_queue_takes_care_of_the_rest(
    house: House, door: Door, store: Store, recipients: list[str]
) -> None:
    """Told at last by a bounce; delivered once there is room."""
    await limit(store, BEN, octets=1_000)
    async with call(house, door) as caller:
        await caller.begin(sender="zoe@far.test", recipients=recipients)
        assert await caller.message(LARGE) == TAKEN
    assert len(await inbox(store, ANNA)) == 1
    assert await inbox(store, BEN) == []
    [claimed] = await ready(store)
    item = claimed.item
    assert [str(each.path) for each in item.envelope.recipients] == [str(BEN)]
    assert item.envelope.sender.address == Address("zoe", Domain("far.test"))  # it stays here, so nothing is rewritten
    octets = (await store.blobs.get(item.blob))[claimed.skip :]
    tried = await deliver(item, octets, house)
    assert tried.kept is None
    [outcome] = tried.outcomes
    assert (outcome.action, str(outcome.status)) == (Action.DELAYED, "4.2.2")
    assert outcome.words == "The mailbox is full (452 4.2.2 The mailbox is full; try again later)"
    [failed] = (await deliver(item, octets, replace(house, quota=QuotaPolicy(RULES, permanent=True)))).outcomes
    assert (failed.action, str(failed.status)) == (Action.FAILED, "5.2.2")

    await limit(store, BEN)
    tried = await deliver(item, octets, house)
    assert [one.action for one in tried.outcomes] == [Action.DELIVERED]
    assert tried.kept is not None
    await store.run(take_letter, tried.kept)
    [message] = await inbox(store, BEN)
    assert message.startswith(b"Return-Path: <zoe@far.test>\r\n")
    assert message.endswith(LARGE + b"\r\n")


async def test_without_a_queue_nothing_is_promised(house: House, door: Door, store: Store) -> None:
    await limit(store, BEN, octets=1_000)
    async with call(replace(house, leave=False), door) as caller:
        await caller.begin(recipients=[str(ANNA), str(BEN)])
        assert await caller.message(LARGE) == FULL
    assert await inbox(store, ANNA) == await inbox(store, BEN) == []


async def test_by_lmtp_each_is_answered_for_itself(house: House, door: Door, store: Store) -> None:
    """RFC 2033 §4.2: in the order of the RCPTs that were accepted."""
    await limit(store, ANNA, octets=1_000)
    async with call(house, door, SmtpRole.LMTP) as caller:
        await caller.say("LHLO client.test")
        await caller.say("MAIL FROM:<zoe@far.test>")
        for path in (ANNA, "nobody@home.test", BEN, "hello@home.test", INFO):
            await caller.say(f"RCPT TO:<{path}>")
        first = await caller.message(LARGE)
        others = ["\n".join(await caller.reply()) for _ in range(3)]
        assert [first, *others] == [FULL, TAKEN, FULL, TAKEN]
        assert await caller.say("NOOP") == "250 2.0.0 OK"
    assert await inbox(store, ANNA) == []
    assert len(await inbox(store, BEN)) == 1
    [claimed] = await ready(store)  # the alias leads to Anna, too
    assert [str(each.path) for each in claimed.item.envelope.recipients] == [str(ANNA)]


async def test_the_journal_tells_of_those_who_were_refused_by_lmtp(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, octets=1_000)
    async with call(house, door, SmtpRole.LMTP) as caller:
        await caller.say("LHLO client.test")
        await caller.say("MAIL FROM:<zoe@far.test>")
        for path in (ANNA, BEN):
            assert await caller.say(f"RCPT TO:<{path}>") == RCPT_OK
        assert await caller.message(LARGE) == FULL
        assert "\n".join(await caller.reply()) == TAKEN
    await house.journey.flush(store)
    keys = [journey.address_key(str(ANNA))]
    entries = await store.read(journal.find, keys, Millis(0), Millis(1 << 60))
    assert [entry.kind for entry in entries] == ["refused"]


async def test_by_lmtp_all_may_be_full(house: House, door: Door, store: Store) -> None:
    await limit(store, ANNA, octets=1_000)
    async with call(house, door, SmtpRole.LMTP) as caller:
        await caller.say("LHLO client.test")
        await caller.say("MAIL FROM:<zoe@far.test>")
        assert await caller.say(f"RCPT TO:<{ANNA}>") == RCPT_OK
        assert await caller.message(LARGE) == FULL


async def test_many_at_once_never_pass_the_overdraft(house: House, door: Door, store: Store) -> None:
    """Two workers' stores on one database, ten sessions, all promised before any message comes."""
    await limit(store, ANNA, messages=3)
    other = await Store.open(store.directory)
    houses = (house, replace(house, store=other, routes=Routes()))
    come = asyncio.Barrier(10)

    async def send(number: int) -> str:
        async with call(houses[number % 2], door) as caller:
            await caller.begin(sender="zoe@far.test", recipients=[str(ANNA)])
            await come.wait()
            return await caller.message(MESSAGE)

    answers = await asyncio.gather(*map(send, range(10)))
    await other.close()
    assert sorted(answers) == [TAKEN] * 5 + [FULL] * 5
    assert len(await inbox(store, ANNA)) == 5
