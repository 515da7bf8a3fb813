"""trace.py and why.py: journeys put together from the journal, and told."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caller import MESSAGE, call
from household import ANNA, HOSTNAME, everybody
from posthouse import trace
from posthouse.cli import main
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import MailboxId, Millis, QueueId, Trail
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status, reply
from posthouse.serve.limits import PeerLimits, Peers
from posthouse.serve.login import Door
from posthouse.store import accounts, emails, journal, mailboxes
from posthouse.store.blobs import BlobKey
from posthouse.store.emails import FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.queue import QueueItem
from posthouse.store.store import Store, open_sync
from posthouse.transport import journey
from posthouse.transport.accept import Queued
from posthouse.transport.client import Client
from posthouse.transport.house import House
from posthouse.transport.journey import Doing, Journey, Subject, Told
from posthouse.wire.imap.number_set import print_spans


def clock() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


async def received(folder: Path, messages: int = 1) -> None:
    """Two messages of ben@work.test to anna, one of them also to nobody; what the sessions told is written."""
    with open_sync(folder) as first:
        first.run(everybody)
    store = await Store.open(folder)
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32)
    house = House(store, HOSTNAME, clock)
    try:
        async with call(house, door) as caller:
            await caller.begin()
            await caller.message(MESSAGE)
            for _ in range(messages - 1):
                await caller.say("MAIL FROM:<ben@work.test>")
                await caller.say("RCPT TO:<anna@home.test>")
                await caller.message(MESSAGE)
            await caller.say("QUIT")
            assert await caller.closed()
        async with call(house, door) as caller:
            await caller.say("EHLO client.test")
            await caller.say("MAIL FROM:<ben@work.test>")
            assert (await caller.say("RCPT TO:<nobody@home.test>")).startswith("550")
            await caller.say("QUIT")
            assert await caller.closed()
        await house.journey.flush(store)
    finally:
        door.close()
        await store.close()


def told(folder: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exited:
        main([*words, "--data", str(folder)])
    assert exited.value.code == 0
    return capsys.readouterr().out


async def test_the_journey_of_what_was_taken_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await received(tmp_path)
    out = told(tmp_path, "trace", "ben@work.test", capsys=capsys)
    assert "from ben@work.test to anna@home.test" in out
    assert "client.test [127.0.0.1] in plain text handed it over" in out
    assert "delivered to anna@home.test, into INBOX as UID 1" in out
    assert "was refused at RCPT for nobody@home.test: 550 5.1.1 There is no such user" in out
    assert "EHLO" not in out
    assert out == told(tmp_path, "trace", "--since", "1h", capsys=capsys)
    found = json.loads(told(tmp_path, "trace", "work.test", "--json", "--wire", capsys=capsys))
    assert [entry["kind"] for one in found for entry in one["entries"]] == ["taken", "refused"]
    assert [line[2] for line in found[1]["wire"][0]["lines"]][-5:] == [
        "250 2.1.0 Sender accepted",
        "RCPT TO:<nobody@home.test>",
        "550 5.1.1 There is no such user here; check the address",
        "QUIT",
        "221 2.0.0 Goodbye",
    ]
    for each in (found[0]["trail"], f"<{found[0]['entries'][0].get('message_id', found[0]['trail'])}>"):
        assert "UID 1" in told(tmp_path, "trace", each, "--wire", capsys=capsys)


def test_what_is_held_says_until_when() -> None:
    """RFC 4865 §4; whoever it is for: it need not go out."""
    until = clock() + 3_600_000
    story = journey.where([], [Queued(QueueId(1), "home.test"), Queued(QueueId(2), "")])
    subject = Subject(Trail("0123456789abcdef"), "", ReversePath(), ("ben@home.test",))
    entry = journey.taken(clock(), Client(ip="192.0.2.1"), subject, {**story, "held_until": until})
    read = journey.read(journal.Told(1, entry.at, entry.kind, entry.story))
    held = f"; held until {trace.clock(Millis(until))[:16]}, as its sender wished"
    assert trace.sentences(read)[1:] == [
        f"put into the queue as Q1, for home.test{held}", f"put into the queue as Q2, for this server{held}",
    ]  # fmt: skip


async def test_only_what_was_said_of_this_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await received(tmp_path, messages=3)
    found = json.loads(told(tmp_path, "trace", "work.test", "--json", capsys=capsys))
    trails = [one["trail"] for one in found if one["entries"][0]["kind"] == "taken"]
    assert len(trails) == 3
    for number, trail in enumerate(trails):
        out = told(tmp_path, "trace", trail, "--wire", capsys=capsys)
        assert out.count("EHLO") == 1
        assert out.count("RCPT TO") == 1
        assert out.count("MAIL FROM") == out.count("354 ") == out.count("octets of the message)") == 1
        assert f"(message {trail})" in out
        before, after = f"(of {number} other message{'s' * (number > 1)} before)", f"(of {2 - number} other message"
        assert (before in out) == (number > 0)
        assert (after in out) == (number < 2)
        assert ("QUIT" in out) == (number == 2)


def test_a_conversation_whose_marks_were_not_kept_is_told_whole() -> None:
    lines = [[1, "<", "MAIL FROM:<a@b.test>"], [2, ">", "(message 0123456789abcdef)"], [3, "<", "QUIT"]]
    one = Told(1, Millis(0), "wire", {"lines": lines})
    assert len(list(trace.wire_lines(one, "fedcba9876543210"))) == 4


async def test_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await received(tmp_path)
    out = told(tmp_path, "why", "work.test", capsys=capsys)
    assert 'It is here: in "INBOX" (not read yet).' in out
    assert "It was refused for nobody@home.test: 550 5.1.1 There is no such user" in out
    only = told(tmp_path, "why", "ben@work.test", "--to", "nobody@home.test", capsys=capsys)
    assert "INBOX" not in only
    for nothing in ("", "@@", "two words", "<>"):
        with pytest.raises(SystemExit):
            main(["why", nothing, "--data", str(tmp_path)])
        assert "neither an address nor a domain" in capsys.readouterr().err
    assert "Nothing from anna@home.test has reached this server" in told(
        tmp_path, "why", "anna@home.test", capsys=capsys
    )


def written(folder: Path, *, notice: bool) -> None:
    """A message of anna to sixty at one domain waits as Q1; with `notice`, the last was refused, and she was told."""
    many = tuple(f"u{number}@far.test" for number in range(60))
    sender = ReversePath(Address("anna", Domain("home.test")))
    last = Recipient(ForwardPath(Address("u59", Domain("far.test"))))
    item = QueueItem(
        QueueId(1), Trail("0123456789abcdef"), BlobKey(1), 9, None, Envelope(sender, (last,)), Domain("far.test"), 1,
        Millis(0), Millis(0), Millis(1_000),
    )  # fmt: skip
    subject = Subject(item.trail, "a@home.test", sender, many)
    about = {"size": 9, **journey.where([], [Queued(QueueId(1), "far.test")])}
    entries = [journey.taken(clock(), Client(ip="192.0.2.1"), subject, about)]
    if notice:
        refused = Outcome(
            last, Action.FAILED, Status(5, 1, 1), "", clock(), "mx.far.test", "192.0.2.9", reply(550, "", "No")
        )
        back = Outcome(Recipient(ForwardPath(sender.address)), Action.RELAYED, Status(2, 0, 0), "", clock())  # type: ignore[arg-type]
        entries += [
            journey.attempted(clock(), item, [refused], None),
            journey.answered(clock(), item, [], [Queued(QueueId(2), "home.test")]),
            journey.attempted(clock(), replace(item, id=QueueId(2)), [back], None),
        ]
    with open_sync(folder) as store:
        store.run(everybody)
        store.run(journal.record, entries)


def test_what_waits_is_found_by_its_queue_id_before_the_first_attempt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, notice=False)
    for asked in ("Q1", "q1", "1"):
        assert "put into the queue as Q1, for far.test" in told(tmp_path, "trace", asked, capsys=capsys)
    assert "It waits in the queue for far.test" in told(tmp_path, "why", "anna@home.test", capsys=capsys)


def test_why_of_a_message_to_many_and_of_the_notice_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The notice travels under the same id; its reader is none of the message, nor is its fate."""
    written(tmp_path, notice=True)
    out = told(tmp_path, "why", "anna@home.test", "--to", "U59@far.test", capsys=capsys)
    assert "a mail from anna@home.test to u0@far.test, u1@far.test" in out
    assert "and 55 more" in out
    assert 'u59@far.test could not be reached at mx.far.test [192.0.2.9]; it said "550 No"' in out
    assert "handed over for anna@home.test" not in out
    nothing = told(tmp_path, "why", "anna@home.test", "--to", "anna@home.test", capsys=capsys)
    assert nothing.startswith("Nothing from anna@home.test has reached this server")


async def test_found_by_the_author_that_people_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shops write by other servers: what people know of them is the From field."""
    with open_sync(tmp_path) as first:
        first.run(everybody)
    store = await Store.open(tmp_path)
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32)
    try:
        async with call(House(store, HOSTNAME, clock), door) as caller:
            await caller.say("EHLO client.test")
            await caller.say("MAIL FROM:<bounce-1@esp.test>")
            await caller.say("RCPT TO:<anna@home.test>")
            assert (await caller.message(b"From: The Shop <orders@shop.test>\r\n\r\nThanks\r\n")).startswith("250")
            await caller.say("QUIT")
            assert await caller.closed()
    finally:
        door.close()
        await store.close()
    for who in ("orders@shop.test", "shop.test", "bounce-1@esp.test", "esp.test"):
        out = told(tmp_path, "why", who, capsys=capsys)
        assert "a mail from orders@shop.test to anna@home.test" in out
        assert "It is here" in out
    out = told(tmp_path, "trace", "shop.test", capsys=capsys)
    assert "from bounce-1@esp.test to anna@home.test" in out
    assert "written by orders@shop.test" in out


async def test_followed_from_mailbox_to_mailbox(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What mail programs did, by sets of UIDs: read, moved, and removed from where it was moved to."""
    await received(tmp_path)
    with open_sync(tmp_path) as store:
        login = store.read(accounts.find_login, ANNA)
        assert login is not None
        inbox, archive = (store.read(mailboxes.find, login.account, name) for name in ("INBOX", "Archive"))
        assert inbox is not None
        assert archive is not None
        moved = store.run(emails.move, inbox.box, ((1, 1),), archive.id, clock())
        did = [
            Doing("flags", inbox.id, "INBOX", "1:4", "+\\Seen"),
            Doing("flags", inbox.id, "INBOX", "2:4", "+\\Flagged"),
            Doing("moved", inbox.id, "INBOX", "1", to=(archive.id, "Archive", moved.target[0])),
        ]
        store.run(journal.record, [journey.did(clock(), each, "anna@home.test", "192.0.2.1 K-9") for each in did])
        out = told(tmp_path, "trace", "ben@work.test", capsys=capsys)
        assert "anna@home.test read it (from 192.0.2.1 K-9)" in out
        assert "Flagged" not in out
        assert "anna@home.test moved it to Archive" in out
        assert 'in "Archive", the archive' in told(tmp_path, "why", "ben@work.test", capsys=capsys)
        box = Box(login.account, archive.id)
        store.run(emails.store_flags, box, ((1, 1),), FlagChange(Mode.ADD, 16))
        gone = store.run(emails.expunge, box)
        last = Doing("expunged", archive.id, "Archive", print_spans([(u, u) for u in gone.uids]).decode())
        store.run(journal.record, [journey.did(clock(), last, "anna@home.test", "192.0.2.1 K-9")])
        out = told(tmp_path, "why", "ben@work.test", capsys=capsys)
        assert "It came, and was removed since then: anna@home.test removed it from Archive" in out


def test_what_the_journal_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_sync(tmp_path) as store:
        store.run(everybody)
    assert told(tmp_path, "trace", "x@y.test", capsys=capsys).startswith("The journal has nothing of that.")
    for words in (["trace"], ["trace", "--since", "soon"], ["why", "x@y.test", "--since", "1 year"]):
        with pytest.raises(SystemExit) as exited:
            main([*words, "--data", str(tmp_path)])
        assert exited.value.code == 1
        assert "say" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uids", "uid", "index"),
    [
        ("1:5", 3, 2),
        ("2,4:6,9", 2, 0),
        ("2,4:6,9", 6, 3),
        ("2,4:6,9", 9, 4),
        ("2,4:6,9", 3, None),
        ("", 1, None),
        ("x:y,3", 3, 0),
    ],
)
def test_index_in_a_set(uids: str, uid: int, index: int | None) -> None:
    assert trace.index_in(uids, uid) == index


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("30min", 1800), ("90s", 90), ("7d", 604800), ("3", 10800)]
)
def test_periods(text: str, seconds: int) -> None:
    when = trace.period(text, 1_700_000_000.0)
    assert when is not None
    assert when.since == 1_700_000_000_000 - seconds * 1000


@given(st.text(max_size=20))
def test_no_text_breaks_a_period_or_a_question(text: str) -> None:
    trace.period(text, 1_700_000_000.0)
    assert trace.keys_of(text)


async def test_too_many_entries_are_counted_and_the_rest_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journey, "WAITING", 3)
    store = await Store.open(tmp_path)
    try:
        waiting = Journey()
        about = Subject(Trail("0" * 16), "", journey.ReversePath(), ("x@y.test",))
        for _ in range(5):
            waiting.note(journey.refused(clock(), Client("192.0.2.1"), about, ("RCPT", reply(550, "5.1.1", "no"))))
        await waiting.flush(store)
        found = await store.read(journal.find, [journey.address_key("X@y.test")], Millis(0), clock())
        assert len(found) == 3
        assert "2 entries of the journal were not written" in caplog.text
    finally:
        await store.close()


def test_a_long_set_of_uids_is_told_as_a_perhaps() -> None:
    uids = ",".join(str(number) for number in range(3, 9_000, 2))
    entry = journey.did(clock(), Doing("flags", MailboxId(1), "INBOX", uids, "+\\Seen"), "anna", "192.0.2.1")
    story = journey.read(journal.Told(1, entry.at, entry.kind, entry.story)).story
    assert story["uids"] == "3:8999"
    assert "perhaps read it" in trace.sentences(journey.read(journal.Told(1, entry.at, "did", entry.story)))[0]


def test_a_damaged_entry_is_told_as_nothing() -> None:
    for kind in ("taken", "wire", "refused", "attempt", "did"):
        one = journey.read(journal.Told(1, Millis(0), kind, b"\xff{"))
        assert one.story == {}
        assert trace.sentences(one) is not None
        assert list(trace.wire_lines(one))
