"""What SEARCH and SORT give back, by their return options (RFC 9051 §6.4.4, RFC 4731 §3.1, RFC 5267 §3.1, RFC 9394
§3.1, §3.2).

`found` is in the order of the result: that of the mailbox for SEARCH, that of the criteria for SORT.
"""

from collections.abc import Sequence

from posthouse.wire.imap.number_set import NumberSpan, runs
from posthouse.wire.imap.response import ExtendedSearchResult
from posthouse.wire.imap.search_return import ALL_OF_THEM, SearchReturn, SearchReturns


def kept(found: Sequence[int], returns: SearchReturns) -> tuple[NumberSpan, ...]:
    """The uids that SAVE keeps: what was asked for of MIN, MAX and PARTIAL where only these were, else all that was
    found (RFC 9051 §6.4.4.1, RFC 9394 §3.2)."""
    some = returns.options & {SearchReturn.MIN, SearchReturn.MAX}
    whole = returns.options & {SearchReturn.ALL, SearchReturn.COUNT} or not (some or returns.partial)
    if whole or not found:
        return tuple(runs(sorted(found)))
    few = set(found[returns.partial.places(len(found))]) if returns.partial else set()
    if SearchReturn.MIN in some:
        few.add(found[0])
    if SearchReturn.MAX in some:
        few.add(found[-1])
    return tuple(runs(sorted(few)))


def extended(
    tag: bytes, numbers: Sequence[int], returns: SearchReturns | None, *, uid: bool, ascending: bool = True
) -> ExtendedSearchResult:
    """ESEARCH (RFC 9051 §7.3.4). Without RETURN an IMAP4rev2 client gets ALL."""
    returns = returns or ALL_OF_THEM
    options, partial = returns.options, returns.partial
    return ExtendedSearchResult(
        tag,
        uid,
        numbers[0] if numbers and SearchReturn.MIN in options else None,
        numbers[-1] if numbers and SearchReturn.MAX in options else None,
        numbers if SearchReturn.ALL in options else None,
        len(numbers) if SearchReturn.COUNT in options else None,
        None if partial is None else (partial, numbers[partial.places(len(numbers))]),
        ascending,
    )
