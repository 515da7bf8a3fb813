"""serve/smtp/wishes.py and what obeys it: DSNs of success, mail held back, parameters on their way (RFC 3461)."""

from dataclasses import replace
from mmap import ACCESS_READ, mmap

import pytest

from caller import MESSAGE, Caller, call, log_in
from household import ANNA, BEN, NOW, inbox
from posthouse.mail.address import Address, Domain
from posthouse.mail.dsn import read_report
from posthouse.mail.envelope import BodyType, DeliverBy, DsnReturn, Notify, OriginalRecipient
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.serve.login import Door
from posthouse.store import accounts, aliases, groups, journal, queue
from posthouse.store.accounts import Senders
from posthouse.store.moment import Moment
from posthouse.store.queue import QueueItem
from posthouse.store.script import Script, sql
from posthouse.store.store import Store
from posthouse.trace import sentences
from posthouse.transport import journey
from posthouse.transport.home import at_home_first, deliver
from posthouse.transport.house import House, SmtpRole, SubmissionRules
from posthouse.transport.letter import take_letter
from posthouse.transport.queue import Tried
from posthouse.transport.route import Routes

SUBMISSION = SmtpRole.SUBMISSION
HOUR = 3_600_000
PLACES = Address("places", Domain("home.test"))  # an alias of Anna and of somebody elsewhere


async def waiting(house: House, store: Store, later: int = 0) -> list[QueueItem]:
    """What is ready so many milliseconds from now."""
    taken = await store.run(queue.claim, Moment(Millis(NOW + later), Millis(later), "boot"), 7, 100, HOUR)
    return [claimed.item for claimed in taken.items]


async def from_anna(caller: Caller, parameters: str, *recipients: str) -> None:
    """Anna, logged in, sends."""
    await log_in(caller)
    assert (await caller.say(f"MAIL FROM:<anna@home.test> {parameters}")).startswith("250")
    for recipient in recipients:
        assert (await caller.say(f"RCPT TO:{recipient}")).startswith("250")
    assert (await caller.message(MESSAGE.replace(b"ben@", b"anna@").replace(b"work.test", b"home.test", 1))).startswith(
        "250"
    )


@pytest.mark.parametrize(
    ("sender", "notify", "told"),
    [
        ("ben@work.test", "NOTIFY=SUCCESS", True),
        ("ben@work.test", "NOTIFY=success,failure ORCPT=rfc822;Anna@home.test", True),
        ("ben@work.test", "NOTIFY=FAILURE,DELAY", False),
        ("ben@work.test", "NOTIFY=NEVER", False),
        ("ben@work.test", "", False),
        ("", "NOTIFY=SUCCESS", False),
    ],
)
@pytest.mark.parametrize("role", [SmtpRole.MX, SmtpRole.LMTP])
async def test_success_is_told(
    house: House, door: Door, store: Store, sender: str, notify: str, told: bool, role: SmtpRole
) -> None:
    """RFC 3461 §5.2.3: final delivery, by LMTP too."""
    async with call(house, door, role) as caller:
        await caller.say("LHLO client.test" if role is SmtpRole.LMTP else "EHLO client.test")
        assert (await caller.say(f"MAIL FROM:<{sender}> RET=FULL ENVID=QQ1")).startswith("250")
        assert (await caller.say(f"RCPT TO:<anna@home.test> {notify}")).startswith("250")
        assert (await caller.message(MESSAGE)).startswith("250")
    assert len(await inbox(store, ANNA)) == 1
    letters = await inbox(store, BEN)
    assert len(letters) == told
    for letter in letters:
        assert letter.startswith(b"Return-Path: <>\r\n")
        report = read_report(letter)
        assert report is not None
        [anna] = report.status.recipients
        assert (anna.action, str(anna.status), anna.final.address) == (Action.DELIVERED, "2.1.5", "anna@home.test")
        assert anna.original == (OriginalRecipient("rfc822", "Anna@home.test") if "ORCPT" in notify else None)
        assert report.status.envid == "QQ1"
        assert b"How are you" not in letter
        rows = await store.read(journal.find, [journey.address_key(sender)], Millis(0), Millis(1 << 60))
        assert [row.kind for row in rows] == ["taken", "answered"]
        assert sentences(journey.read(rows[1]))[0] == "its sender, ben@work.test, was told so in a mail"
        assert b"Return-Path" not in report.returned
        assert report.returned.startswith(b"Received: from client.test")


@pytest.mark.parametrize(("senders", "told"), [(Senders.ANYONE, 1), (Senders.USERS, 0), (Senders.MEMBERS, 0)])
async def test_a_dsn_goes_round_no_rule_of_a_group(
    house: House, door: Door, store: Store, senders: Senders, told: int
) -> None:
    """RFC 3464 §2: whoever says that a group is the sender does not write to it so."""
    await store.run(groups.add_group, Address("team", Domain("home.test")), [BEN], senders)
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        assert (await caller.say("MAIL FROM:<team@home.test>")).startswith("250")
        assert (await caller.say("RCPT TO:<anna@home.test> NOTIFY=SUCCESS")).startswith("250")
        assert (await caller.message(MESSAGE)).startswith("250")
    assert len(await inbox(store, ANNA)) == 1
    assert len(await inbox(store, BEN)) == told


async def test_an_alias_that_leads_elsewhere_too_is_expanded(house: House, door: Door, store: Store) -> None:
    """RFC 3461 §5.2.7.3: that is the success, and it is not asked for again."""
    await store.run(add_outside)
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        await caller.say("MAIL FROM:<ben@work.test>")
        assert (await caller.say("RCPT TO:<places@home.test> NOTIFY=SUCCESS,FAILURE")).startswith("250")
        assert (await caller.message(MESSAGE)).startswith("250")
    [letter] = await inbox(store, BEN)
    report = read_report(letter)
    assert report is not None
    assert [each.action for each in report.status.recipients] == [Action.EXPANDED]
    [item] = await waiting(house, store)
    [recipient] = item.envelope.recipients
    assert recipient.notify == {Notify.FAILURE}
    assert recipient.orcpt == OriginalRecipient("rfc822", "places@home.test")


def add_outside() -> Script[None]:
    for target in ("anna@home.test", "x@elsewhere.test"):
        yield sql(
            "INSERT INTO alias (domain, fold, target, local) VALUES ('home.test', 'places', $1, 'places')", target
        )


async def test_wishes_go_into_the_queue(house: House, door: Door, store: Store) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await from_anna(
            caller, "RET=FULL ENVID=a+20b BODY=8BITMIME BY=600;RT MT-PRIORITY=-2", "<x@elsewhere.test> NOTIFY=NEVER"
        )
    [item] = await waiting(house, store)
    envelope = item.envelope
    assert (envelope.ret, envelope.envid, envelope.body) == (DsnReturn.FULL, "a b", BodyType.EIGHT_BIT_MIME)
    assert envelope.deliver_by == DeliverBy(NOW + 600_000, give_back=True, trace=True)
    assert (envelope.priority, envelope.require_tls) == (-2, False)
    assert envelope.recipients[0].notify == frozenset()
    assert item.expires == NOW + 600_000


async def test_priority_is_bounded_for_users_and_not_for_a_trusted_server(
    house: House, door: Door, store: Store
) -> None:
    """RFC 6710 §4.1."""
    house = replace(house, submission=SubmissionRules(highest_priority=0))
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        assert (await caller.say("MAIL FROM:<anna@home.test> MT-PRIORITY=5")).startswith("250 2.3.6 0 ")
        assert (await caller.say("RCPT TO:<x@elsewhere.test>")).startswith("250")
        assert (await caller.message(b"From: anna@home.test\r\n\r\n")).startswith("250")
    async with call(house, door, SmtpRole.LMTP) as caller:
        await caller.say("LHLO client.test")
        assert (await caller.say("MAIL FROM:<ben@work.test> MT-PRIORITY=9")).startswith("250 2.1.0 ")
    [item] = await waiting(house, store)
    assert item.envelope.priority == 0


async def keep(tried: Tried, store: Store) -> tuple[Outcome, ...]:
    """As the transaction that settles does it."""
    if tried.kept is not None:
        await store.run(take_letter, tried.kept)
    return tried.outcomes


async def test_what_is_held_back_waits_for_everyone(house: House, door: Door, store: Store) -> None:
    """RFC 4865 §4: also for those who are here; BY counts from the release."""
    async with call(house, door, SUBMISSION) as caller:
        await from_anna(caller, "HOLDFOR=3600 BY=120;N", "<ben@work.test>", "<x@elsewhere.test>", "<Postmaster>")
    assert await inbox(store, BEN) == []
    [kept] = await store.read(journal.recent, Millis(0), ("taken",))
    assert journey.read(kept).story["held_until"] == NOW + HOUR
    assert await waiting(house, store, HOUR - 1) == []
    items = {item.destination.name: item for item in await waiting(house, store, HOUR)}
    assert set(items) == {"work.test", "elsewhere.test", ""}
    assert items["work.test"].envelope.deliver_by == DeliverBy(NOW + HOUR + 120_000, give_back=False, trace=False)
    sent: list[QueueItem] = []

    async def send(item: QueueItem, octets: object) -> tuple[Outcome, ...]:
        sent.append(item)
        return ()

    attempt = at_home_first(house, send)
    for item in items.values():
        await keep(await attempt(item, await store.blobs.get(item.blob)), store)
    assert [item.destination.name for item in sent] == ["elsewhere.test"]
    [kept] = await inbox(store, BEN)
    assert kept.startswith(b"Return-Path: <anna@home.test>\r\nReceived: ")
    assert kept.count(b"Received:") == 1
    assert len(await inbox(store, ANNA)) == 1  # the postmaster


async def test_a_large_message_that_was_held_back(house: House, door: Door, store: Store) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await from_anna(caller, "HOLDFOR=60", "<ben@work.test>")
    [item] = await waiting(house, store, HOUR)
    with (store.directory / "large").open("w+b") as file:
        file.write(b"Subject: large\r\n\r\n" + b"x" * 70_000 + b"\r\n")
        file.flush()
        with mmap(file.fileno(), 0, access=ACCESS_READ) as octets:
            [outcome] = await keep(await deliver(item, octets, house), store)
            assert outcome.action is Action.DELIVERED
            [kept] = await inbox(store, BEN)
            assert kept == b"Return-Path: <anna@home.test>\r\n" + octets[:]


async def test_who_has_gone_meanwhile(house: House, door: Door, store: Store) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await from_anna(caller, "HOLDFOR=60", "<ben@work.test>")
    await store.run(aliases.remove_alias, Address("info", Domain("home.test")))
    await store.run(accounts.remove_account, BEN)
    [item] = await waiting(house, store, HOUR)
    house = replace(house, routes=Routes())  # a second later nobody remembers him

    async def send(item: QueueItem, octets: object) -> tuple[Outcome, ...]:
        raise AssertionError("it is for nobody else")

    tried = await at_home_first(house, send)(item, b"Subject: x\r\n\r\n")
    [outcome] = tried.outcomes
    assert tried.kept is None
    assert (outcome.action, str(outcome.status)) == (Action.FAILED, "5.1.1")


async def test_a_moment_that_is_over_holds_nothing(house: House, door: Door, store: Store) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await from_anna(caller, "HOLDUNTIL=2001-01-01T00:00:00Z", "<ben@work.test>")
    assert len(await inbox(store, BEN)) == 1


@pytest.mark.parametrize(
    ("field", "optional"), [("TLS-Required: No", True), ("tls-required:\r\n no", True), ("TLS-Required: Yes", False)]
)
async def test_delivery_may_matter_more_than_tls(
    house: House, door: Door, store: Store, field: str, optional: bool
) -> None:
    """RFC 8689 §3, §4.1."""
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test> MT-PRIORITY=3")
        await caller.say("RCPT TO:<x@elsewhere.test>")
        assert (await caller.message(f"From: anna@home.test\r\n{field}\r\n\r\n".encode())).startswith("250")
    [item] = await waiting(house, store)
    assert item.envelope.tls_optional is optional
    octets = await store.blobs.get(item.blob)
    assert b"\tfor <x@elsewhere.test>\r\n\tPRIORITY 3; " in octets  # RFC 6710 §7
