"""`posthouse trace`: the journey of messages, told from the journal as a story with times, or as JSON.

What was asked for may be the id of a journey (it stands in our Received field), a queue id, a Message-ID or an
address. Entries are put together by journey; what mail programs did with a message is found by the mailboxes and UIDs
it stood under, from one to the next.
"""

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from posthouse.mail.ids import AccountId, MailboxId, Millis, QueueId
from posthouse.mail.spelling import readable
from posthouse.store import accounts, journal, waiting
from posthouse.store.queue import State
from posthouse.store.store import SyncStore
from posthouse.transport import journey
from posthouse.transport.journey import Story, Told, address_key, mailbox_key, message_id_key, trail_key

JOURNEYS = 200  # told at once, the newest
PLACES = 100  # mailboxes and UIDs that one message is followed through
NUMBERS = 100_000  # of a set of UIDs that are looked through

_TRAIL = re.compile(r"[0-9a-f]{16}\Z", re.IGNORECASE)
_QUEUE = re.compile(r"Q?(\d{1,18})\Z", re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,5})\s*(s|m|min|h|d|w)?\Z")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800, None: 3_600}
_MARK = re.compile(r"\(message [0-9a-f]{16}\)\Z")  # wire/smtp/conversation.py
_MAIL = re.compile(r"MAIL\b", re.IGNORECASE)
_MADE_BY_MESSAGE = ("taken", "refused", "attempt", "home", "answered", "ordered")


class Journey(NamedTuple):
    """All that is known of one message, oldest first; `done` is what mail programs did with it."""

    trail: str
    entries: tuple[Told, ...]
    done: tuple[Told, ...]
    wire: tuple[Told, ...]


class Period(NamedTuple):
    """From when to when, both included."""

    since: Millis
    until: Millis


def period(text: str, now: float | None = None) -> Period | None:
    """The time back from now that `2h`, `30min`, `7d` or `2026-11-26` means; None where it means none."""
    moment = time.time() if now is None else now
    found = _SPAN.match(text.strip().lower())
    if found is not None:
        began = moment - int(found[1]) * _SECONDS[found[2]]
    else:
        try:
            began = time.mktime(time.strptime(text.strip(), "%Y-%m-%d"))
        except (ValueError, OverflowError):
            return None
    return Period(Millis(max(0, int(began * 1000))), Millis(int(moment * 1000) + 60_000))


def keys_of(wanted: str) -> list[int]:
    """The keys of the journal that this text may be."""
    text = wanted.strip()
    inner = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    queue = _QUEUE.match(inner)
    keys = [message_id_key(inner), address_key(inner)]
    if _TRAIL.match(inner):
        keys.append(trail_key(inner))
    if queue is not None:
        keys.append(journey.queue_key(int(queue[1])))
    return keys


def find(store: SyncStore, wanted: str | None, when: Period) -> list[Journey]:
    """The journeys that are meant, oldest first; without `wanted` all of the period."""
    if wanted is None:
        found = store.read(journal.recent, when.since, _MADE_BY_MESSAGE)
    else:
        found = store.read(journal.find, keys_of(wanted), when.since, when.until)
    trails = list(dict.fromkeys(filter(None, (_trail(journey.read(each)) for each in found))))
    return [_whole(store, trail, when) for trail in trails[-JOURNEYS:]]


def _trail(told: Told) -> str:
    return str(told.story.get("trail", ""))


def _whole(store: SyncStore, trail: str, when: Period) -> Journey:
    """Everything of one journey."""
    everything = Period(Millis(0), when.until)
    rows = store.read(journal.find, [trail_key(trail)], *everything)
    told = sorted((journey.read(row) for row in rows), key=lambda each: (each.at, each.number))
    entries = tuple(each for each in told if each.kind != "wire")
    _put_off(store, entries, Millis(time.time_ns() // 1_000_000))
    for each in (one for entry in entries for one in stories(entry.story, "delivered")):
        each["to"] = str(store.read(accounts.address_of, AccountId(_number(each, "account"))) or "a user who is gone")
    return Journey(trail, entries, _followed(store, entries, when), tuple(each for each in told if each.kind == "wire"))


def _put_off(store: SyncStore, entries: Sequence[Told], now: Millis) -> None:
    """Where an item still waits, its next try is when the queue now says: its destination may rest since then."""
    last = {_number(told.story, "queue"): told.story for told in entries if told.kind == "attempt"}
    items = [QueueId(item) for item, story in last.items() if story.get("next")]
    for row in store.read(waiting.look, now, items) if items else ():
        if row.state in (State.READY, State.LATER):
            last[row.id]["next"] = max(row.next_attempt, _number(last[row.id], "next"))


# --- what was done with it


class _Place(NamedTuple):
    since: Millis
    mailbox: int
    uid: int


def _followed(store: SyncStore, entries: Sequence[Told], when: Period) -> tuple[Told, ...]:
    """What mail programs did with the message, wherever it went."""
    waiting = list(_delivered(entries))
    seen: set[tuple[int, int]] = set()
    done: dict[int, Told] = {}
    while waiting and len(seen) < PLACES:
        place = waiting.pop(0)
        if (place.mailbox, place.uid) in seen:
            continue
        seen.add((place.mailbox, place.uid))
        rows = store.read(journal.find, [mailbox_key(MailboxId(place.mailbox))], place.since, when.until)
        for told in map(journey.read, rows):
            index = index_in(str(told.story.get("uids", "")), place.uid)
            if index is None:
                continue
            done[told.number] = told
            if "to_box" in told.story and not told.story.get("some"):
                first = _number(told.story, "first")
                waiting.append(_Place(told.at, _number(told.story, "to_box"), first + index))
    return tuple(sorted(done.values(), key=lambda each: (each.at, each.number)))


def _delivered(entries: Sequence[Told]) -> Iterator[_Place]:
    for told in entries:
        for each in stories(told.story, "delivered") if told.kind in ("taken", "home") else ():
            yield _Place(told.at, _number(each, "box"), _number(each, "uid"))


def stories(story: Story, name: str) -> list[Story]:
    """The stories that a story has under this name."""
    value = story.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def recipients(told: Told) -> list[str]:
    """The recipients that an entry names."""
    value = told.story.get("to")
    return [str(name) for name in value] if isinstance(value, list) else []


def _number(story: Story, name: str) -> int:
    value = story.get(name)
    return value if isinstance(value, int) else 0


def index_in(uids: str, uid: int) -> int | None:
    """Which one of a sequence-set this is, counted from 0 (RFC 4315 §3); None where it is not in it."""
    spans: list[tuple[int, int]] = []
    for piece in uids.split(",")[:NUMBERS]:
        first, _, last = piece.partition(":")
        if first.isdigit() and (not last or last.isdigit()):
            spans.append((int(first), int(last or first)))
    place = bisect_left(spans, (uid + 1, 0)) - 1
    if place < 0 or not spans[place][0] <= uid <= spans[place][1]:
        return None
    return sum(last - first + 1 for first, last in spans[:place]) + uid - spans[place][0]


# --- told to people


def tell(journeys: Sequence[Journey], *, wire: bool = False, say: Callable[[str], None] = print) -> None:
    """The story of each, with times."""
    for number, each in enumerate(journeys):
        if number:
            say("")
        _tell_one(each, wire=wire, say=say)


def _tell_one(one: Journey, *, wire: bool, say: Callable[[str], None]) -> None:
    for line in _head(one):
        say(line)
    for told in sorted([*one.entries, *one.done], key=lambda each: (each.at, each.number)):
        for line in sentences(told):
            say(f"  {clock(told.at)}  {line}")
    if wire:
        for told in one.wire:
            for line in wire_lines(told, one.trail):
                say(line)


def _head(one: Journey) -> Iterator[str]:
    story = _begun(one)
    sender = readable(str(story.get("from") or "")) or "<> (an automatic message)"
    yield f"{one.trail}  from {sender} to {addressed(one)}"
    if story.get("author"):
        yield f"  written by {readable(str(story['author']))}"
    if story.get("message_id"):
        yield f"  Message-ID <{story['message_id']}>"


def _begun(one: Journey) -> Story:
    return next((told.story for told in one.entries if told.kind in ("taken", "refused")), {})


def addressed(one: Journey) -> str:
    """Whom the message was for; not who was told of it afterwards."""
    meant = [told for told in one.entries if told.kind in ("taken", "refused")]
    everybody = dict.fromkeys(name for told in meant or one.entries for name in recipients(told))
    return _names({"to": list(everybody), "more": _begun(one).get("more")})


def _names(story: Story) -> str:
    value = story.get("to")
    names = [str(name) for name in value] if isinstance(value, list) else []
    more = _number(story, "more")
    text = ", ".join(map(readable, names[:5])) + (f" and {len(names) - 5 + more} more" if len(names) + more > 5 else "")
    return text or "nobody"


def clock(at: Millis) -> str:
    """A moment as people read it, in the time of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000)) + f".{at % 1000:03d}"


def sentences(told: Told) -> list[str]:
    """What an entry tells."""
    story = told.story
    match told.kind:
        case "taken":
            return _taken(story)
        case "refused":
            at = f"{story.get('step')} for {_names(story)}" if story.get("to") else str(story.get("step"))
            return [f"{_peer(story)} was refused at {at}: {_answer(story)}"]
        case "attempt":
            return _attempt(story)
        case "home":
            return list(_went(story))
        case "answered":
            return [
                f"its sender, {_names(story)}, was told so in a mail",
                *(f"that mail: {line}" for line in _went(story)),
            ]
        case "ordered":
            order = _ORDERS.get(str(story.get("what")), "{to}: {what}").format(**{**story, "to": _names(story)})
            return [f"{order}; it was being sent just then, and may have arrived" if story.get("sent") else order]
        case "did":
            return [_did(story)]
    return [f"{told.kind}: {story}"]


def _peer(story: Story) -> str:
    name, ip = story.get("name", ""), f"[{story['ip']}]" if story.get("ip") else "this machine"
    where = f"{name} {ip}".strip() if name != ip else ip
    over = f" over {story['tls']}" if story.get("tls") else " in plain text"
    return f"{story['user']}, logged in from {where}{over}," if story.get("user") else f"{where}{over}"


def _answer(story: Story) -> str:
    status = f" {story['status']}" if story.get("status") else ""
    return f"{story.get('code', '')}{status} {story.get('text', '')}"


def _taken(story: Story) -> list[str]:
    size = _number(story, "size")
    lines = [f"{_peer(story)} handed it over ({size:,} octets); it was accepted and is safe"]
    return [*lines, *_signature(story), *_went(story)]


def _signature(story: Story) -> Iterator[str]:
    """Of what leaves the house (RFC 6376)."""
    signed = stories(story, "signed")
    if signed:
        selectors = " and ".join(str(each.get("selector")) for each in signed)
        yield f"signed by {readable(str(signed[0].get('domain')))} (DKIM, selector{'s'[: len(signed) > 1]} {selectors})"
    elif story.get("unsigned"):
        yield f"it leaves without a signature of ours (DKIM): {story['unsigned']}"


def _went(story: Story) -> Iterator[str]:
    for each in stories(story, "delivered"):
        yield f"delivered to {readable(str(each.get('to')))}, into {each.get('mailbox')} as UID {each.get('uid')}"
    until = _number(story, "held_until")
    held = f"; held until {clock(Millis(until))[:16]}, as its sender wished" if until else ""
    for each in stories(story, "queued"):
        yield f"put into the queue as Q{each.get('id')}, for {readable(str(each.get('for'))) or 'this server'}{held}"


_ACTIONS = {
    "relayed": "handed over for {to}",
    "delivered": "delivered to {to}",
    "delayed": "{to} has to wait",
    "failed": "{to} could not be reached",
}


_ORDERS = {
    "held": "held back in the queue for {to}, by `posthouse queue hold`; it stays until it is released",
    "released": "no longer held back in the queue for {to}, by `posthouse queue release`",
    "cancelled": "thrown out of the queue for {to}, by `posthouse queue cancel`; its sender was not told",
}


def _attempt(story: Story) -> list[str]:
    lines = []
    for each in stories(story, "outcomes"):
        action = str(each.get("action"))
        ip = f" [{each['ip']}]" if each.get("ip") else ""  # none where it stays here
        at = f" at {each['mta']}{ip}" if each.get("mta") else ""
        said = f'; it said "{each["answer"]}"' if each.get("answer") else ""
        over = f" over {each['tls']}" if each.get("tls") else ""
        reason = f": {each['reason']}" if each.get("reason") else ""
        lines.append(f"{_ACTIONS.get(action, action).format(to=readable(str(each.get('to'))))}{at}{over}{reason}{said}")
    if story.get("next"):
        lines.append(f"it stays in the queue; the next try is at {clock(Millis(_number(story, 'next')))}")
    return lines


_DEEDS = {
    "moved": "moved it to {to}",
    "copied": "copied it to {to}",
    "expunged": "removed it from {mailbox}",
    "fetched": "fetched it by POP3",
    "removed": "removed it from {mailbox} by POP3",
}
_MARKS = {"+\\Seen": "read it", "-\\Seen": "marked it as not read", "+\\Deleted": "marked it as deleted"}


def _did(story: Story) -> str:
    what, detail = str(story.get("what")), str(story.get("detail", ""))
    if what == "expired":
        return f"removed from {story.get('mailbox')} by {detail}"
    if what == "restored":
        return f"brought back to {story.get('to')}, by `posthouse restore`"
    deed = _DEEDS.get(what, "").format(to=story.get("to"), mailbox=story.get("mailbox"))
    if what == "flags":
        deed = _MARKS.get(detail) or f"set its flags: {detail}"
    perhaps = "perhaps " if story.get("some") else ""
    return f"{story.get('user')} {perhaps}{deed or what} (from {story.get('by')})"


def wire_lines(told: Told, trail: str = "") -> Iterator[str]:
    """A conversation, line by line; `<` is what the peer said. With a trail: what was said for everybody, and of this
    message; what was said of others on the same connection is left out."""
    yield f"  the conversation with {told.story.get('peer') or 'this machine'}:"
    lines = told.story.get("lines")
    others = 0
    for at, side, text in _about_one(lines if isinstance(lines, list) else [], trail):
        if not text:
            others += 1
            continue
        if others:
            yield f"    (of {others} other {'message' if others == 1 else 'messages'} before)"
        others = 0
        yield f"    {clock(Millis(at))[11:]} {side} {text}"
    if others:
        yield f"    (of {others} other {'message' if others == 1 else 'messages'} after)"
    if _number(told.story, "dropped"):
        yield f"    ({_number(told.story, 'dropped')} lines in the middle were not kept)"


def _about_one(lines: Sequence[tuple[int, str, str]], trail: str) -> Iterator[tuple[int, str, str]]:
    """The lines of one message, by the marks that say where each begins; one without text stands for each other
    message. All lines where there is no mark of this one: it was long ago, or the middle was not kept."""
    begins = [number for number, (_, side, text) in enumerate(lines) if side == ">" and _MARK.match(text)]
    if f"(message {trail})" not in {lines[number][2] for number in begins}:
        yield from lines
        return
    # MAIL is heard before its message has an id; when we are the client it is said after.
    starts = [
        number - (number > 0 and lines[number - 1][1] == "<" and _MAIL.match(lines[number - 1][2]) is not None)
        for number in begins
    ]
    yield from lines[: starts[0]]
    for number, start, end in zip(begins, starts, [*starts[1:], len(lines)], strict=True):
        if lines[number][2] == f"(message {trail})":
            yield from lines[start:end]
        else:
            yield (0, "", "")


# --- told to programs


def as_json(journeys: Sequence[Journey], *, wire: bool = False) -> list[Story]:
    """The same for programs."""
    return [
        {
            "trail": one.trail,
            "entries": [_plain(told) for told in one.entries],
            "done": [_plain(told) for told in one.done],
            **({"wire": [_plain(told) for told in one.wire]} if wire else {}),
        }
        for one in journeys
    ]


def _plain(told: Told) -> Story:
    return {"at": told.at, "kind": told.kind, **told.story}
