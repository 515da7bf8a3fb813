"""The journey of a message: the entries of the journal that tell it, and those that wait to be written.

What must not be lost (a message taken, an attempt to send it on) is recorded in the transaction of the thing itself.
The rest (a refusal, the conversation, what a mail program did) waits here and is written together, at most FLUSH
seconds later: it costs its sender and the server next to nothing (decision 0091).
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import zstandard

from posthouse.mail.address import ReversePath
from posthouse.mail.envelope import Envelope
from posthouse.mail.ids import MailboxId, Millis, Trail
from posthouse.mail.outcome import Outcome
from posthouse.mail.status import Reply
from posthouse.store import journal
from posthouse.store.blobs import pack
from posthouse.store.journal import Entry, key
from posthouse.store.queue import QueueItem, State
from posthouse.store.script import StoreError
from posthouse.store.store import Store
from posthouse.store.waiting import Waiting
from posthouse.transport.accept import Delivered, Queued
from posthouse.transport.client import Client
from posthouse.transport.signing import Keys
from posthouse.wire.smtp.conversation import Conversation

FLUSH = 1.0  # seconds at most between a thing that happened and its entry
SORT = 10.0  # seconds between two runs that put keys in order
WAITING = 5_000  # entries that wait; more than a worker makes in a second, unless somebody floods it
AT_ONCE = 500  # entries of one transaction
NAMED = 50  # recipients named in one entry, each of which leads to it
AUTHOR = 320  # characters of an address in a From field; none has more by RFC 5321
SHOWN = 4_096  # characters of a set of UIDs
UNPACKED = 4 * 1024 * 1024  # octets of a conversation: 300 lines of 1,000 octets are far fewer

ORDERS = ("held", "released", "cancelled")  # what somebody may do with an item of the queue, and is told of

Story = dict[str, object]

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """An entry of the journal with its story read."""

    number: int
    at: Millis
    kind: str
    story: Story


class Subject(NamedTuple):
    """What an entry is about: of which message, from whom, to whom. `author` is the address in its From field, which
    is the one that people know. Texts may be empty."""

    trail: Trail
    message_id: str
    sender: ReversePath
    recipients: tuple[str, ...]
    author: str = ""


class Journey:
    """Entries that wait to be written. One per worker; `keep` writes them."""

    __slots__ = ("_lost", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Entry] = []
        self._lost = 0

    def note(self, entry: Entry) -> None:
        """Write this soon."""
        if len(self._waiting) < WAITING:
            self._waiting.append(entry)
        else:
            self._lost += 1

    async def keep(self, store: Store) -> None:
        """The duty of every worker: write what waits, until cancelled; what waits then is written too."""
        try:
            while True:
                await asyncio.sleep(FLUSH)
                await self.flush(store)
        finally:
            await self.flush(store)

    async def flush(self, store: Store) -> None:
        """Write what waits now."""
        if self._lost:
            log.warning("%d entries of the journal were not written: too many came at once", self._lost)
            self._lost = 0
        while self._waiting:
            some, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                await store.run(journal.record, some)
            except StoreError as error:
                log.warning("%d entries of the journal were not written: %s", len(some), error)
                return


async def sort_keys(store: Store, pause: float = SORT) -> None:
    """The duty of one worker: put the keys of new entries in order, until cancelled. That it cannot is said once."""
    failing = False
    while True:
        await asyncio.sleep(pause)
        try:
            while await store.run(journal.sort_keys):
                pass  # others write in between
        except StoreError as error:
            if not failing:
                log.warning("the keys of the journal cannot be put in order: %s", error)
            failing = True
            continue
        if failing:
            log.info("the keys of the journal are in order again")
        failing = False


async def forget(store: Store, now: Millis, days: int, wire_days: int) -> None:
    """Remove entries older than so many days, and conversations older than so many. Raises Unavailable."""
    for verb, age in ((journal.forget_wire, wire_days), (journal.forget, days)):
        while await store.run(verb, Millis(now - age * journal.DAY)):
            pass  # others write in between


# --- what leads to an entry


def trail_key(trail: str) -> int:
    """Of a Trail."""
    return key("trail", trail.lower())


def message_id_key(message_id: str) -> int:
    """Of a Message-ID, without angle brackets."""
    return key("id", message_id)


def address_key(address: str) -> int:
    """Of an address of the envelope, or of a domain that somebody wrote from."""
    return key("address", address.lower())


def mailbox_key(mailbox: MailboxId) -> int:
    """Of what was done in a mailbox."""
    return key("mailbox", str(mailbox))


def queue_key(number: int) -> int:
    """Of an item of the queue."""
    return key("queue", str(number))


def _keys(subject: Subject) -> tuple[int, ...]:
    keys = [trail_key(subject.trail)]
    if subject.message_id:
        keys.append(message_id_key(subject.message_id))
    if subject.sender.address is not None:
        keys += [address_key(str(subject.sender)), address_key(subject.sender.address.domain.name)]
    if subject.author:
        keys += [address_key(subject.author), address_key(subject.author.rpartition("@")[2])]
    return (*keys, *map(address_key, subject.recipients[:NAMED]))


def _queued_keys(arrived: Story) -> tuple[int, ...]:
    """Of the items of the queue that a story names: each leads to it before anything was tried."""
    queued = arrived.get("queued")
    return tuple(queue_key(each["id"]) for each in queued) if isinstance(queued, list) else ()


def subject(trail: Trail, envelope: Envelope, message_id: str = "", author: str = "") -> Subject:
    """What an entry about a message of this Envelope says; its author is told where it is not the sender."""
    other = "" if author.lower() == str(envelope.sender).lower() else author[:AUTHOR]
    return Subject(trail, message_id, envelope.sender, tuple(str(each.path) for each in envelope.recipients), other)


# --- entries


def _entry(at: Millis, kind: str, keys: Iterable[int], story: Story) -> Entry:
    kept = {name: value for name, value in story.items() if value not in ("", None, [], ())}
    return Entry(at, kind, msgspec.json.encode(kept), tuple(keys))


def _speaker(client: Client) -> Story:
    return {
        "ip": client.ip,
        "name": client.name[:255],
        "tls": f"{client.tls.version} {client.tls.cipher}" if client.tls else "",
        "user": str(client.login.address) if client.login else "",
    }


def _about(subject: Subject) -> Story:
    return {
        "trail": subject.trail,
        "message_id": subject.message_id,
        "from": str(subject.sender),
        "author": subject.author,
        "to": subject.recipients[:NAMED],
        "more": max(0, len(subject.recipients) - NAMED) or None,
    }


def taken(at: Millis, client: Client, subject: Subject, arrived: Story) -> Entry:
    """A message was accepted. `arrived`: its size, and where it went: `delivered`, `queued`."""
    keys = (*_keys(subject), *_queued_keys(arrived))
    return _entry(at, "taken", keys, {**_speaker(client), **_about(subject), **arrived})


def refused(at: Millis, client: Client, subject: Subject, said: tuple[str, Reply]) -> Entry:
    """A message was not accepted, or not for this recipient: at which command, and what was said."""
    step, answer = said
    story = {**_speaker(client), **_about(subject), "step": step, "code": answer.code, "text": answer.text}
    return _entry(at, "refused", _keys(subject), {**story, "status": str(answer.status or "")})


def attempted(at: Millis, item: QueueItem, outcomes: Sequence[Outcome], following: Millis | None) -> Entry:
    """An attempt to send a message on, what became of each recipient, and when the next one is, if any."""
    told = [_outcome(each) for each in outcomes[:NAMED]]
    story: Story = {"trail": item.trail, "queue": item.id, "for": str(item.destination), "outcomes": told}
    keys = (trail_key(item.trail), queue_key(item.id), *(address_key(str(each["to"])) for each in told))
    return _entry(at, "attempt", keys, {**story, "next": following})


def ordered(at: Millis, what: str, row: Waiting) -> Entry:
    """Somebody held, released or cancelled an item of the queue."""
    people = row.recipients[:NAMED]
    story: Story = {"trail": row.trail, "queue": row.id, "for": row.domain, "what": what, "to": people}
    keys = (trail_key(row.trail), queue_key(row.id), *map(address_key, people))
    sending = (what == "cancelled" and row.state is State.LEASED) or None
    return _entry(at, "ordered", keys, {**story, "more": max(0, len(row.recipients) - NAMED) or None, "sent": sending})


def answered(at: Millis, item: QueueItem, delivered: Sequence[Delivered], queued: Sequence[Queued]) -> Entry:
    """The sender was told what became of an item: a DSN came into their mailbox, or is on its way to them."""
    return _answered(at, item.trail, str(item.envelope.sender), {"queue": item.id, **where(delivered, queued)})


def came_home(at: Millis, item: QueueItem, delivered: Sequence[Delivered], queued: Sequence[Queued]) -> Entry:
    """A message that waited in the queue was for people here, or for those whom their aliases lead to."""
    people = [str(each.path) for each in item.envelope.recipients[:NAMED]]
    story = {"trail": item.trail, "queue": item.id, "to": people, **where(delivered, queued)}
    return _entry(at, "home", (trail_key(item.trail), *map(address_key, people), *_queued_keys(story)), story)


def confirmed(at: Millis, trail: Trail, sender: str, delivered: Sequence[Delivered], queued: Sequence[Queued]) -> Entry:
    """The sender was told that a message was delivered, as they had asked."""
    return _answered(at, trail, sender, where(delivered, queued))


def _answered(at: Millis, trail: Trail, sender: str, went: Story) -> Entry:
    keys = (trail_key(trail), address_key(sender), *_queued_keys(went))
    return _entry(at, "answered", keys, {"trail": trail, "to": [sender], **went})


def where(delivered: Sequence[Delivered], queued: Sequence[Queued]) -> Story:
    """Where a message went, as a story tells it."""
    return {
        "delivered": [{"account": b.account, "mailbox": n, "box": b.mailbox, "uid": u} for b, u, n in delivered],
        "queued": [{"id": item, "for": destination} for item, destination in queued],
    }


def signature(keys: Keys) -> Story:
    """Whose DKIM signatures a message leaves with, or why without."""
    if not keys.signers:
        return {"unsigned": keys.why_not}
    return {"signed": [{"domain": str(one.domain), "selector": one.selector} for one in keys.signers]}


def _outcome(outcome: Outcome) -> Story:
    story: Story = {
        "to": str(outcome.recipient.path),
        "action": outcome.action.value,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "mta": outcome.mta,
        "ip": outcome.ip,
        "where": outcome.where,
        "tls": outcome.tls,
    }
    if outcome.answer is not None:
        status = f" {outcome.answer.status}" if outcome.answer.status else ""
        story["answer"] = f"{outcome.answer.code}{status} {outcome.answer.text}"
    return {name: value for name, value in story.items() if value != ""}


class Doing(NamedTuple):
    """What a mail program did with messages of a mailbox. `uids` is a sequence-set, `detail` the flags; `to`: where
    they went, and the first of their UIDs there."""

    what: str
    mailbox: MailboxId
    name: str
    uids: str
    detail: str = ""
    to: tuple[MailboxId, str, int] | None = None


def did(at: Millis, doing: Doing, user: str, by: str) -> Entry:
    """A mail program did something; `by` is its address, and what it calls itself."""
    uids = doing.uids
    if len(uids) > SHOWN:  # between the first and the last; not each of them
        uids = f"{uids[: uids.find(',')].partition(':')[0]}:{uids[uids.rfind(',') + 1 :].rpartition(':')[2]}"
    story: Story = {"what": doing.what, "box": doing.mailbox, "mailbox": doing.name, "uids": uids}
    story["detail"] = doing.detail
    if uids != doing.uids:
        story["some"] = True
    if doing.to is not None:
        story["to_box"], story["to"], story["first"] = doing.to
    keys = (mailbox_key(doing.mailbox),)
    return _entry(at, "did", keys, {**story, "user": user, "by": by})


def wire(at: Millis, conversation: Conversation, trails: Sequence[Trail], peer: str) -> Entry:
    """What was said on a connection that had to do with these messages."""
    lines = [(line.at, "<" if line.heard else ">", line.text) for line in conversation.lines]
    story = {"peer": peer, "trails": trails, "lines": lines, "dropped": conversation.dropped}
    return Entry(at, "wire", pack(msgspec.json.encode(story)), tuple(map(trail_key, trails)))


# --- reading


def read(told: journal.Told) -> Told:
    """An entry with its story. One that cannot be read has an empty story."""
    octets = told.story
    try:
        if told.kind == "wire":
            octets = zstandard.ZstdDecompressor().decompress(octets, max_output_size=UNPACKED)
        story = msgspec.json.decode(octets, type=dict[str, object])
    except (msgspec.DecodeError, zstandard.ZstdError):
        story = {}
    return Told(told.number, told.at, told.kind, story)
