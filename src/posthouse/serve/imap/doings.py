"""What a mail program did with messages, for their journey (transport/journey.py): flags, moves, copies, removals.

One entry for a command, whatever the number of messages; it is written a moment later, so it costs the client nothing.
"""

from collections.abc import Mapping, Sequence

from posthouse.mail.ids import UID, MailboxId
from posthouse.mail.keyword import FLAG_BITS
from posthouse.serve.imap.state import Session
from posthouse.store.emails import Copied, FlagChange, Mode, Spans
from posthouse.store.removed import Removal
from posthouse.transport import journey
from posthouse.transport.journey import Doing
from posthouse.wire.imap.number_set import print_numbers, print_spans

AGENT = 60  # characters of what a mail program calls itself

_SIGNS = {Mode.ADD: "+", Mode.REMOVE: "-", Mode.SET: "="}


def agent_of(fields: Mapping[bytes, bytes | None]) -> str:
    """What a client calls itself in ID: its name and version (RFC 2971 §3.3)."""
    known = {name.lower(): value for name, value in fields.items()}
    words = [(known.get(name) or b"").decode("utf-8", "replace") for name in (b"name", b"version")]
    text = " ".join(word for word in words if word)[:AGENT]
    return text if text.isprintable() else ""


def flagged(session: Session, spans: Spans, change: FlagChange) -> None:
    """Flags changed: by STORE, or by FETCH, which sets \\Seen."""
    names = [name.decode("ascii") for name, bit in FLAG_BITS if change.bits & bit]
    words = " ".join([*names, *(change.keywords or ())])
    _note(session, "flags", print_spans(spans), detail=_SIGNS[change.mode] + words)


def placed(session: Session, copied: Copied, target: MailboxId, name: str, *, move: bool) -> None:
    """Messages were moved or copied to another mailbox."""
    to = (target, name, copied.target[0])
    _note(session, "moved" if move else "copied", print_numbers(copied.source), to=to)


def removal(session: Session) -> Removal | None:
    """What this session removes now, if it may come back."""
    by = f"{session.link.peer[0]} {session.agent}".strip()
    return session.house.removal(f"{session.who.address} by IMAP from {by}")


def expunged(session: Session, uids: Sequence[UID]) -> None:
    """Messages were removed from the selected mailbox; `uids` ascend."""
    if uids:
        _note(session, "expunged", print_numbers(uids))


def _note(
    session: Session, what: str, uids: bytes, *, detail: str = "", to: tuple[MailboxId, str, int] | None = None
) -> None:
    selected = session.selected
    doing = Doing(what, selected.box.mailbox, selected.name, uids.decode("ascii"), detail, to)
    by = f"{session.link.peer[0]} {session.agent}".strip()
    session.house.journey.note(journey.did(session.house.clock(), doing, str(session.who.address), by))
