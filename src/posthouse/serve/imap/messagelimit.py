"""MESSAGELIMIT: how many messages one command may work on (RFC 9738).

FETCH, STORE, MOVE, UID EXPUNGE and SEARCH work on the newest of them and say up to which UID; COPY, APPEND, SORT and
THREAD are done whole or not at all. EXPUNGE, CLOSE and STATUS are never cut (§3.1). The usual limit is more than a
mailbox has, so that programs that do not know the extension notice nothing (§4.2).
"""

from collections.abc import Set
from dataclasses import replace

from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import Ranges, count
from posthouse.wire.imap.command import Command
from posthouse.wire.imap.condition import Condition
from posthouse.wire.imap.response import StatusResponse, no
from posthouse.wire.imap.sort import Sort, Thread


def code(session: Session, lowest: int = 0) -> bytes:
    """MESSAGELIMIT, with the lowest UID that was worked on where it is known (RFC 9738 §5)."""
    limit = b"MESSAGELIMIT %d" % session.limits.messages
    return limit + b" %d" % lowest if lowest else limit


def newest(ranges: Ranges, most: int) -> Ranges:
    """The last `most` places of the ranges."""
    left: list[tuple[int, int]] = []
    for start, stop in reversed(ranges):
        if most <= 0:
            break
        left.append((max(start, stop - most), stop))
        most -= stop - start
    return tuple(reversed(left))


def cut(session: Session, ranges: Ranges) -> Ranges:
    """The messages that one command may work on; `finish` says where they end."""
    if count(ranges) <= session.limits.messages:
        return ranges
    ranges = newest(ranges, session.limits.messages)
    session.selected.limited = session.selected.view.column[ranges[0][0]]
    return ranges


def too_many(session: Session, tag: bytes, ranges: Ranges) -> StatusResponse | None:
    """The refusal of a command that is done whole or not at all (RFC 9738 §3.1)."""
    if count(ranges) <= session.limits.messages:
        return None
    place = newest(ranges, session.limits.messages)[0][0]
    text = f"At most {session.limits.messages} messages fit into one such command; name fewer."
    return no(tag, text, code(session, session.selected.view.column[place]))


def refused(session: Session, command: Command) -> StatusResponse | None:
    """SORT and THREAD of a mailbox that is too large (RFC 9738 §3.3)."""
    if not isinstance(command, Sort | Thread) or session.selected.view.total <= session.limits.messages:
        return None
    return no(command.tag, f"More than {session.limits.messages} messages are not sorted.", code(session))


def searched(session: Session, uids: Set[int]) -> frozenset[int] | None:
    """The newest of the messages that a search would look through; None where they are not too many."""
    if len(uids) <= session.limits.messages:
        return None
    kept = sorted(uids)[-session.limits.messages :]
    session.selected.limited = kept[0]
    return frozenset(kept)


def finish(session: Session, answer: StatusResponse | None) -> StatusResponse | None:
    """The tagged answer with the code where messages were left out; beside another code it goes out untagged
    (RFC 9738 §3.1)."""
    if not session.selecting or not session.selected.limited:
        return answer
    lowest, session.selected.limited = session.selected.limited, 0
    if answer is None or answer.condition is not Condition.OK:
        return answer
    if answer.code is None:
        text = f"Done for the newest {session.limits.messages} messages; go on below the UID given."
        return replace(answer, code=code(session, lowest), text=text)
    session.say(no(None, "Only the newest messages were worked on.", code(session, lowest)))
    return answer
