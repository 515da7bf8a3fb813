"""What SEARCH and SORT give back, by their return options (RFC 9051 §6.4.4, RFC 4731 §3.1, RFC 5267 §3.1, RFC 9394
§3.1, §3.2).

`found` is in the order of the result: that of the mailbox for SEARCH, that of the criteria for SORT.
"""

from collections.abc import Mapping, Sequence

from posthouse.wire.imap.number_set import NumberSpan, runs
from posthouse.wire.imap.response import ExtendedSearchResult
from posthouse.wire.imap.search_return import ALL_OF_THEM, SearchReturn, SearchReturns

_ENDS = ((SearchReturn.MIN, 0), (SearchReturn.MAX, -1))


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


def relevancy_of(
    found: Sequence[int], returns: SearchReturns | None, scores: Mapping[int, int]
) -> Sequence[int] | None:
    """The scores of the messages that are returned, in their order: those of PARTIAL, or of MIN and MAX where only
    these were asked for, else of all (RFC 6203 §4); None where nobody asked."""
    if returns is None or not returns.scoring:
        return None
    if returns.partial is not None:
        found = found[returns.partial.places(len(found))]
    elif SearchReturn.ALL not in returns.options and found:
        ends = [found[place] for one, place in _ENDS if one in returns.options]
        found = ends or found
    return [scores[uid] for uid in found]


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
