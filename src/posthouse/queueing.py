"""`posthouse queue`: what waits to leave, why, until when, and what may be done about it, while the server runs."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from posthouse.admin import Refused, confirmed, domain_of
from posthouse.mail.ids import QUEUE_LETTER, Millis, QueueId
from posthouse.mail.spelling import readable
from posthouse.store import journal, waiting
from posthouse.store.moment import Moment, format_minute, moment, wall_clock
from posthouse.store.queue import State
from posthouse.store.script import Script
from posthouse.store.store import SyncStore
from posthouse.store.waiting import PAGE, Choice, RecipientRow, Waiting
from posthouse.transport import journey

NAMED = 3  # recipients shown in one line
CANCELLED = "cancelled"
DOMAINS = 10  # shown when there is more than is listed

_ID = re.compile(rf"{QUEUE_LETTER}?([1-9]\d{{0,17}})\Z", re.IGNORECASE)

Done = TypeVar("Done", list[QueueId], dict[QueueId, State])
Verb = Callable[[Moment, Sequence[QueueId]], Script[list[QueueId]]]


def choice_of(ids: Sequence[str], sender: str | None, recipient: str | None, domain: str | None) -> Choice:
    """Raises Refused with the reason."""
    numbers = frozenset(map(_item, ids))
    name = domain_of(domain).name if domain is not None else None
    return Choice(numbers if ids else None, sender, recipient, name)


def _item(text: str) -> QueueId:
    match = _ID.match(text)
    if match is None:
        raise Refused(f"{text!r} is not the id of a message that waits; they look like Q12")
    return QueueId(int(match[1]))


def list_queue(store: SyncStore, choice: Choice, limit: int, *, as_json: bool) -> None:
    """posthouse queue list."""
    now = _now().now
    if as_json:
        rows = [row for page in _pages(store, choice) for row in store.read(waiting.look, now, page)]
        print(json.dumps([_json(row) for row in rows], indent=2, ensure_ascii=False))
        return
    shown = 0
    for page in _pages(store, choice):
        for row in store.read(waiting.look, now, page[: limit - shown]):
            print(f"{_id(row.id)}  {_from(row.sender)} -> {_people(row.recipients)}  ({_octets(row.size)})")
            print(f"     {sentence(row, now)}")
            shown += 1
        if shown >= limit:
            break
    if not shown:
        print("Nothing waits." if choice == Choice() else "Nothing of that kind waits.")
    elif shown >= limit:
        _tell_more(store, limit)


def _tell_more(store: SyncStore, limit: int) -> None:
    tallies = store.read(waiting.count)
    total = sum(row.ready + row.later + row.leased + row.held for row in tallies)
    if total <= limit:
        return
    print(f"\nThese are the first {limit}; {total:,} messages wait in all. Where to:")
    for row in tallies[:DOMAINS]:
        held = f", {row.held:,} held" if row.held else ""
        why = f": {row.reason}" if row.reason else ""
        print(f"  {row.domain}  {row.ready + row.later + row.leased + row.held:,}{held}{why}")
    if len(tallies) > DOMAINS:
        print(f"  and {len(tallies) - DOMAINS:,} more domains")
    print("Show less with --domain, --sender or --recipient, or more with --limit.")


def show_item(store: SyncStore, text: str, *, as_json: bool) -> None:
    """posthouse queue show."""
    item = _item(text)
    now = _now().now
    rows = store.read(waiting.look, now, [item])
    if not rows:
        raise Refused(f"{_id(item)} does not wait (any more); what became of it: posthouse trace {_id(item)}")
    [row], people = rows, store.read(waiting.recipients, item)
    if as_json:
        print(json.dumps(_json(row) | {"recipients": [_json_recipient(one) for one in people]}, indent=2))
        return
    print(f"{_id(item)}: {_from(row.sender)} writes to {len(people)} at {readable(row.domain)}")
    print(f"  now       {sentence(row, now)}")
    print(f"  came      {format_minute(row.created)}, {_octets(row.size)}, id {row.trail}")
    print(f"  tried     {row.attempts} times" if row.attempts != 1 else "  tried     once")
    if row.priority:
        print(f"  priority  {row.priority}")
    if row.state is not State.HELD:
        print(f"  given up  {format_minute(row.expires)}, {_span(row.expires - now)}")
    for one in people:
        print(f"  {readable(one.path)}: {_fate(one)}")


class Order(NamedTuple):
    """What may be done with items: how, what is said of it, and why it was not done with some."""

    verb: Verb
    done: str
    otherwise: str


ORDERS = {
    "retry": Order(
        waiting.retry,
        "tried as soon as may be",
        "it is held, is being sent just now, or waits for a moment that its sender chose",
    ),
    "hold": Order(waiting.hold, "held", "it is held already"),
    "release": Order(waiting.release, "released", "it is not held"),
}


def change(store: SyncStore, choice: Choice, what: str) -> None:
    """posthouse queue retry, hold, release."""
    verb, done, otherwise = ORDERS[what]
    changed, seen = 0, set[QueueId]()
    for page in _pages(store, choice):
        seen.update(page)
        found = store.run(_ordered, verb, done, _now(), page)
        changed += len(found)
        if choice.ids is not None:
            for item in sorted(set(page) - set(found)):
                print(f"{_id(item)}: {otherwise}", file=sys.stderr)
    not_so = "" if choice == Choice(choice.ids) else ", or not with that sender, recipient or domain"
    for item in sorted((choice.ids or frozenset()) - seen):
        print(f"{_id(item)} does not wait{not_so}", file=sys.stderr)
    if not changed:
        raise Refused("nothing was changed")
    print(f"{changed:,} {'message' if changed == 1 else 'messages'}: {done}.")


def cancel(store: SyncStore, choice: Choice, *, sure: bool) -> None:
    """posthouse queue cancel."""
    items = [item for page in _pages(store, choice) for item in page]
    if not items:
        raise Refused("nothing of that kind waits")
    if not sure and not confirmed(f"Throw away {len(items):,} messages? Their senders are not told."):
        raise Refused("nothing was cancelled")
    sending, gone = 0, 0
    for first in range(0, len(items), PAGE):
        states = store.run(_ordered, waiting.cancel, CANCELLED, _now(), items[first : first + PAGE])
        gone += len(states)
        sending += sum(state is State.LEASED for state in states.values())
    print(f"{gone:,} {'message' if gone == 1 else 'messages'}: {CANCELLED}.")
    if sending:
        print(f"{sending:,} of them {'was' if sending == 1 else 'were'} being sent just now, and may have arrived.")


def _ordered(
    verb: Callable[[Moment, Sequence[QueueId]], Script[Done]], what: str, at: Moment, items: Sequence[QueueId]
) -> Script[Done]:
    """Do it, and write it down, so that `posthouse trace` tells it."""
    rows = yield from waiting.look(at.now, items)
    done = yield from verb(at, items)
    if what in journey.ORDERS:
        yield from journal.record([journey.ordered(at.now, what, row) for row in rows if row.id in done])
    return done


def _pages(store: SyncStore, choice: Choice) -> Iterator[list[QueueId]]:
    after = 0
    while page := store.read(waiting.chosen, choice, after):
        yield page
        after = page[-1]


def _now() -> Moment:
    return moment(wall_clock())


# --- words


def sentence(row: Waiting, now: Millis) -> str:
    """Why it is still here, and how it goes on."""
    if row.state is State.HELD:
        return f"is held; `posthouse queue release {_id(row.id)}` lets it go on"
    if row.ended:
        return f"could not be delivered: {row.reason}; its sender is told in a moment"
    if row.state is State.LEASED:
        return f"is being sent to {readable(row.domain)} now"
    if row.next_attempt <= now:
        return f"has its turn soon: {row.reason}" if row.reason else "has its turn soon"
    if not row.reason:
        return f"waits until {format_minute(row.next_attempt)}, as its sender wished"
    return f"waits for {readable(row.domain)}: {row.reason}; next try {_span(row.next_attempt - now)}"


def _fate(one: RecipientRow) -> str:
    if one.outcome is None:
        return "not tried yet"
    server = f", {one.outcome.mta}" if one.outcome.mta else ""
    return f"{'done: ' if one.settled else ''}{one.outcome.words}; {format_minute(one.outcome.at)}{server}"


def _id(item: QueueId) -> str:
    return f"{QUEUE_LETTER}{item}"


def _from(sender: str) -> str:
    return sender or "this server"


def _people(recipients: Sequence[str]) -> str:
    more = len(recipients) - NAMED
    return ", ".join(map(readable, recipients[:NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _octets(size: int) -> str:
    if size < 10_000:
        return f"{size:,} octets"
    return f"{size // 1_000} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def _span(milliseconds: int) -> str:
    """In how much time, with two units at most."""
    seconds = max(0, milliseconds // 1000)
    if seconds < 90:
        return f"in {seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if minutes < 90:
        return f"in {minutes} min"
    return f"in {hours} h" if hours < 48 else f"in {days} days"


def _json(row: Waiting) -> dict[str, object]:
    return {
        "id": _id(row.id),
        "trail": row.trail,
        "sender": row.sender,
        "domain": row.domain,
        "recipients": list(row.recipients),
        "size": row.size,
        "priority": row.priority,
        "state": row.state.name.lower(),
        "attempts": row.attempts,
        "created": _iso(row.created),
        "next_attempt": _iso(row.next_attempt),
        "expires": _iso(row.expires),
        "reason": row.reason,
    }


def _json_recipient(one: RecipientRow) -> dict[str, object]:
    known = one.outcome
    found: dict[str, object] = {"address": one.path, "done": one.settled}
    if known is not None:
        answer = f"{known.answer.code} {known.answer.text}" if known.answer else None
        found |= {"action": known.action.value, "status": str(known.status), "reason": known.reason}
        found |= {"server": known.mta or None, "answer": answer, "at": _iso(known.at)}
    return found


def _iso(at: Millis) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")
