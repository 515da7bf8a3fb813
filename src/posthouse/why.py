"""`posthouse why ADDRESS`: "I am waiting for a mail from X". What became of the mails of X, newest last, in words."""

from collections.abc import Callable

from posthouse.admin import Refused
from posthouse.mail.address import parse_address, parse_domain
from posthouse.mail.ids import EMAIL_LETTER, UID, MailboxId
from posthouse.mail.keyword import SEEN_BIT
from posthouse.mail.spelling import readable
from posthouse.store.store import SyncStore
from posthouse.store.whereabouts import Spot, restorable, whereabouts
from posthouse.trace import Journey, Period, addressed, clock, find, recipients, sentences, stories
from posthouse.transport.journey import Told

_NOTHING = """Nothing from {who} has reached this server since {since}.
  - Is the address right? `posthouse why example.org` looks for everybody of a domain.
  - If the sender got a message back, it says why; if not, the mail still waits at the sender's server.
  - Does mail for your domain come here at all? `posthouse trace --since 1d` shows what came."""
_ROLES = {"junk": "the mailbox for junk", "trash": "the trash", "archive": "the archive"}


def explain(store: SyncStore, who: str, to: str | None, when: Period, say: Callable[[str], None] = print) -> None:
    """Print what became of each mail from this address or domain, to that recipient where one is named."""
    who = _named(who)
    found = [one for one in find(store, who, when) if _meant(one, who, to)]
    if not found:
        say(_NOTHING.format(who=who, since=clock(when.since)[:16]))
        return
    for number, one in enumerate(found):
        if number:
            say("")
        story = _begun(one).story
        author = story.get("author") or story.get("from") or "<>"
        say(f"{clock(_begun(one).at)}  a mail from {readable(str(author))} to {addressed(one)}")
        for line in _verdict(store, one):
            say(f"  {line}")
        say(f"  (all of it: posthouse trace {one.trail})")


def _named(text: str) -> str:
    """An address or a domain as the journal has it. Raises Refused."""
    inner = text.strip().removeprefix("<").removesuffix(">")
    found = parse_address(inner) or parse_domain(inner)
    if found is None:
        raise Refused(f"{text!r} is neither an address nor a domain; say ben@example.org, or example.org")
    return str(found)


def _begun(one: Journey) -> Told:
    return next((told for told in one.entries if told.kind in ("taken", "refused")), one.entries[0])


def _fates(one: Journey) -> list[Told]:
    """What became of the message itself: not of the notices about it, which travel under the same id."""
    said = [told for told in one.entries if told.kind == "answered"]
    notices = {each.get("id") for told in said for each in stories(told.story, "queued")}
    return [told for told in one.entries if told not in said and told.story.get("queue") not in notices]


def _readers(one: Journey) -> set[str]:
    """Everybody the message was for, also those whom the entry of a large one does not name, and whom it came to."""
    fates = _fates(one)
    names = [name for told in fates for name in recipients(told)]
    for what in ("outcomes", "delivered"):
        names += [str(each.get("to")) for told in fates for each in stories(told.story, what)]
    return {name.lower() for name in names}


def _meant(one: Journey, who: str, to: str | None) -> bool:
    if not one.entries:
        return False
    wanted = who.lower()
    begun = _begun(one).story
    writers = [str(begun.get(name, "")).lower() for name in ("from", "author")]
    if not any(wanted in (writer, writer.rpartition("@")[2]) for writer in writers if writer):
        return False
    return to is None or to.lower() in _readers(one)


def _verdict(store: SyncStore, one: Journey) -> list[str]:
    lines: list[str] = []
    fates = _fates(one)
    for told in fates:
        if told.kind == "refused":
            lines += _refused(told)
        elif told.kind in ("taken", "home"):
            for each in stories(told.story, "delivered"):
                lines += _now(store, one, each)
            tried = any(other.kind in ("attempt", "ordered") for other in fates)
            for each in () if tried else stories(told.story, "queued"):
                place = readable(str(each.get("for")))
                lines.append(f"It waits in the queue for {place}: posthouse queue show Q{each.get('id')}")
        elif told.kind in ("attempt", "ordered"):
            lines += [f"{clock(told.at)}  {line}" for line in sentences(told)]
    return lines


def _refused(told: Told) -> list[str]:
    story = told.story
    names = ", ".join(recipients(told)) or "every recipient"
    said = f"{story.get('code')} {story.get('status', '')} {story.get('text')}"
    if str(story.get("code", "")).startswith("4"):
        return [
            f"It was put off for {names}: {said}",
            "The sender's server keeps it and tries again by itself, within minutes or hours.",
        ]
    return [f"It was refused for {names}: {said}", "The sender has been told so, or should have been."]


def _now(store: SyncStore, one: Journey, delivered: dict[str, object]) -> list[str]:
    box, uid = delivered.get("box"), delivered.get("uid")
    if not isinstance(box, int) or not isinstance(uid, int):
        return []
    spots = store.read(whereabouts, MailboxId(box), UID(uid))
    if not spots:
        ends = [told for told in one.done if told.story.get("what") in ("expunged", "removed", "expired")]
        who = f": {sentences(ends[-1])[0]}, {clock(ends[-1].at)}" if ends else ""
        kept = store.read(restorable, MailboxId(box), UID(uid))
        back = f" To bring it back: posthouse restore {delivered.get('to')} {EMAIL_LETTER}{kept}" if kept else ""
        return [f"It came, and was removed since then{who}.{back}"]
    lines = [f"It is here: in {', '.join(map(_place, spots))}."]
    moves = [told for told in one.done if told.story.get("what") == "moved"]
    if moves:
        lines.append(f"{sentences(moves[-1])[0]}, {clock(moves[-1].at)}.")
    return lines


def _place(spot: Spot) -> str:
    read = "read" if spot.flags & SEEN_BIT else "not read yet"
    role = f", {_ROLES[spot.role]}" if spot.role in _ROLES else ""
    return f'"{spot.name}"{role} ({read})'
