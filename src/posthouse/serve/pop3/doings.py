"""What a POP3 session did with messages, for their journey (transport/journey.py): one entry for all that it fetched,
one for all that it removed; written a moment later, so they cost the client nothing."""

from collections.abc import Sequence

from posthouse.mail.ids import UID
from posthouse.serve.pop3.state import Session
from posthouse.store.removed import Removal
from posthouse.transport import journey
from posthouse.transport.journey import Doing
from posthouse.wire.imap.number_set import print_numbers


def fetched(talk: Session) -> None:
    """The session is over: messages that it sent whole."""
    if talk.fetched:
        _note(talk, "fetched", sorted(talk.fetched))


def removal(talk: Session) -> Removal | None:
    """What QUIT removes now, if it may come back."""
    who = "" if talk.login is None else f"{talk.login.address} "
    return talk.house.removal(f"{who}by POP3 from {talk.ip}")


def removed(talk: Session, uids: Sequence[UID]) -> None:
    """QUIT removed them; `uids` ascend."""
    if uids:
        _note(talk, "removed", uids)


def _note(talk: Session, what: str, uids: Sequence[int]) -> None:
    if talk.login is None:
        return
    doing = Doing(what, talk.maildrop.box.mailbox, "INBOX", print_numbers(uids).decode("ascii"))
    talk.house.journey.note(journey.did(talk.house.clock(), doing, str(talk.login.address), talk.ip))
