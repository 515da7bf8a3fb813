"""The return options of SEARCH, SORT and ESEARCH, read (RFC 9051 §6.4.4, RFC 4731 §3.1, RFC 5182 §2, RFC 5267 §3.1,
RFC 9394 §3.1; UPDATE and CONTEXT: RFC 5267 §4.2, §4.3, RFC 5465 §7; RELEVANCY: RFC 6203 §4).

What they ask for is not put together here but in serve/imap/search_return.py; response.py prints the ESEARCH response.
"""

from dataclasses import dataclass
from enum import Enum

from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.fetch import FetchItem, fetch_items
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.partial import PartialRange, parse_partial


class SearchReturn(Enum):
    """search-return-opt without a value (RFC 9051 §6.4.4)."""

    MIN = b"MIN"
    MAX = b"MAX"
    ALL = b"ALL"
    COUNT = b"COUNT"
    SAVE = b"SAVE"
    CONTEXT = b"CONTEXT"  # a hint that may be ignored, and is: nothing is kept for it (RFC 5267 §4.2)
    UPDATE = b"UPDATE"
    RELEVANCY = b"RELEVANCY"  # RFC 6203 §4


@dataclass(frozen=True, slots=True)
class SearchReturns:
    """search-return-opts. `RETURN ()` is ALL (RFC 9051 §6.4.4). `items` are shown of new messages that UPDATE adds
    (RFC 5465 §7)."""

    options: frozenset[SearchReturn]
    partial: PartialRange | None = None
    items: tuple[FetchItem, ...] = ()

    @property
    def saving(self) -> bool:
        """Whether the search result variable is set."""
        return SearchReturn.SAVE in self.options

    @property
    def updating(self) -> bool:
        """Whether the client wants to be told how the results change (RFC 5267 §4.3)."""
        return SearchReturn.UPDATE in self.options

    @property
    def scoring(self) -> bool:
        """Whether the relevancy scores are wanted (RFC 6203 §4)."""
        return SearchReturn.RELEVANCY in self.options

    @property
    def only_saving(self) -> bool:
        """Whether no ESEARCH response is wanted (RFC 9051 §6.4.4.1)."""
        return self.options == {SearchReturn.SAVE} and self.partial is None


ALL_OF_THEM = SearchReturns(frozenset({SearchReturn.ALL}))


def parse_returns(scanner: Scanner) -> SearchReturns | None:
    """search-return-opts, or None where there are none (RFC 9051 §9)."""
    if not scanner.take(b" RETURN "):
        return None
    options: set[SearchReturn] = set()
    partial: PartialRange | None = None
    items: tuple[FetchItem, ...] = ()
    for option in scanner.parenthesized(_option, empty=True):
        if isinstance(option, SearchReturn):
            options.add(option)
        elif isinstance(option, tuple):
            options.add(SearchReturn.UPDATE)
            items = option
        elif partial is None:
            partial = option
        else:
            raise Fault("PARTIAL may be asked for once.")
    if partial is not None and SearchReturn.ALL in options:
        raise Fault("Either ALL or PARTIAL may be asked for, not both.")
    if not options and partial is None:
        return ALL_OF_THEM
    return SearchReturns(frozenset(options), partial, items)


def _option(scanner: Scanner) -> SearchReturn | PartialRange | tuple[FetchItem, ...]:
    word = scanner.word()
    if word == b"PARTIAL":
        scanner.space()
        return parse_partial(scanner)
    if word == b"UPDATE" and scanner.octets[scanner.position : scanner.position + 2] == b" (":
        scanner.space()
        return fetch_items(scanner)  # modifier-update (RFC 5465 §8)
    try:
        return SearchReturn(word)
    except ValueError:
        raise Fault(f"SEARCH knows no return option {word.decode('ascii')}.") from None
