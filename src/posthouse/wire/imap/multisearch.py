"""ESEARCH, the search of several mailboxes, read (RFC 7377 §2, §4).

It does not know which mailboxes there are.
"""

from dataclasses import dataclass
from enum import Enum

from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import OPEN, Scanner
from posthouse.wire.imap.search import SearchKey, parse_search
from posthouse.wire.imap.search_return import ALL_OF_THEM, SearchReturns

NAMES = 200  # mailboxes named in one ESEARCH; each may mean all that lie below


class Scope(Enum):
    """filter-mailboxes (RFC 7377 §2.2, §4)."""

    SELECTED = b"SELECTED"
    PERSONAL = b"PERSONAL"
    INBOXES = b"INBOXES"
    SUBSCRIBED = b"SUBSCRIBED"
    MAILBOXES = b"MAILBOXES"
    SUBTREE = b"SUBTREE"
    SUBTREE_ONE = b"SUBTREE-ONE"


@dataclass(frozen=True, slots=True)
class Source:
    """Mailboxes to be searched; `names` where the scope takes some."""

    scope: Scope
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MultiSearch:
    """ESEARCH (RFC 7377 §2). Without sources it is the selected mailbox that is searched."""

    tag: bytes
    sources: tuple[Source, ...]
    key: SearchKey
    returns: SearchReturns = ALL_OF_THEM
    labelled: bool = False  # it names a charset


_NAMED = (Scope.MAILBOXES, Scope.SUBTREE, Scope.SUBTREE_ONE)


def parse_esearch(tag: bytes, scanner: Scanner) -> MultiSearch:
    """What follows `ESEARCH` (RFC 7377 §4)."""
    sources: tuple[Source, ...] = (Source(Scope.SELECTED),)
    if scanner.take(b" IN "):
        sources = tuple(scanner.parenthesized(_source))
    if sum(len(source.names) for source in sources) > NAMES:
        raise over_limit(f"ESEARCH takes at most {NAMES} names of mailboxes.")
    search = parse_search(tag, scanner, uid=True)
    returns = search.returns or ALL_OF_THEM
    if returns.saving and any(source.scope is not Scope.SELECTED for source in sources):
        raise Fault("SAVE keeps results of the selected mailbox only; leave the other sources out.")
    return MultiSearch(tag, sources, search.key, returns, search.labelled)


def _source(scanner: Scanner) -> Source:
    word = scanner.word()
    try:
        scope = Scope(word)
    except ValueError:
        raise Fault(f"ESEARCH knows no source {word.decode('ascii')}.") from None
    if scope not in _NAMED:
        return Source(scope)
    scanner.space()
    if scanner.peek() == OPEN:
        return Source(scope, tuple(scanner.parenthesized(Scanner.mailbox)))
    return Source(scope, (scanner.mailbox(),))
