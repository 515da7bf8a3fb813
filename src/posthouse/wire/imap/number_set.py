"""sequence-set and uid-set, both ways (RFC 9051 §4.1.1, §9).

A NumberSet is what a client wrote, merged: it may hold `*` and the `$` of RFC 9051 §6.4.4.1, so it means nothing
before it is resolved against a mailbox. Spans are inclusive pairs (first, last), ascending, neither touching nor
overlapping; they are never expanded into lists of numbers here.

It does not know messages: which numbers exist, and whether a sequence number beyond the last message is refused,
is the View's to say.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from posthouse.wire.imap.condition import Fault, over_limit

NumberSpan = tuple[int, int]

ELEMENTS = 10_000  # merged elements of one set; more is no client's honest question (limits.md)
LARGEST = 0xFFFF_FFFF  # nz-number is an unsigned 32-bit integer (RFC 9051 §9)
STAR = LARGEST + 1  # stands for `*`: sorts behind every number

# RFC 9051 §9   sequence-set = (seq-number / seq-range) ["," sequence-set] ; sequence-set =/ seq-last-command
_ELEMENT = rb"(?:[1-9][0-9]{0,9}|\*)(?::(?:[1-9][0-9]{0,9}|\*))?|\$"
SEQUENCE_SET = re.compile(rb"(?:%b)(?:,(?:%b))*" % (_ELEMENT, _ELEMENT))


@dataclass(frozen=True, slots=True)
class NumberSet:
    """A sequence-set (RFC 9051 §9): merged spans, where STAR stands for `*`; `saved` says that `$` was among them."""

    spans: tuple[NumberSpan, ...]
    saved: bool = False

    @property
    def star(self) -> bool:
        """Whether `*` is among the numbers, which an empty mailbox has not (RFC 9051 §9 seq-number)."""
        return bool(self.spans) and self.spans[-1][1] == STAR

    def resolve(self, maximum: int) -> tuple[NumberSpan, ...]:
        """The spans with `maximum` put for `*`, ordered and merged again: `9:*` is `7:9` where 7 is the last."""
        if not self.star:
            return self.spans
        plain = [span for span in self.spans if span[1] != STAR]
        for first, last in self.spans[len(plain) :]:
            low = maximum if first == STAR else first
            high = maximum if last == STAR else last
            plain.append((low, high) if low <= high else (high, low))
        return merge(plain)


def number_set(octets: bytes, most: int = ELEMENTS) -> NumberSet:
    """A sequence-set (RFC 9051 §9) from octets that SEQUENCE_SET has matched, of at most `most` spans.

    Raises Fault."""
    if octets.isdigit():
        number = _number(octets)
        return NumberSet(((number, number),))
    elements = octets.split(b",")
    saved = b"$" in octets
    spans = merge(_span(element) for element in elements if element != b"$")
    if len(spans) > most:
        raise over_limit(f"A set of message numbers may have at most {most} ranges.")
    return NumberSet(spans, saved)


def _span(element: bytes) -> NumberSpan:
    first, colon, last = element.partition(b":")
    low = _number(first)
    if not colon:
        return low, low
    high = _number(last)
    return (low, high) if low <= high else (high, low)


def _number(octets: bytes) -> int:
    if octets == b"*":
        return STAR
    number = int(octets)
    if number > LARGEST:
        raise Fault(f"Message numbers end at {LARGEST}.")
    return number


def merge(spans: Iterable[NumberSpan]) -> tuple[NumberSpan, ...]:
    """Ascending spans that neither touch nor overlap. A span that reaches `*` takes in only what overlaps it."""
    ordered = sorted(spans)
    if len(ordered) < 2:
        return tuple(ordered)
    merged = [ordered[0]]
    for first, last in ordered[1:]:
        low, high = merged[-1]
        touches = first <= high or (first == high + 1 and first != STAR)
        if touches:
            merged[-1] = (low, max(high, last))
        else:
            merged.append((first, last))
    return tuple(merged)


def runs(numbers: Sequence[int]) -> list[NumberSpan]:
    """The spans of ascending distinct numbers."""
    if not numbers:
        return []
    start = previous = numbers[0]
    if numbers[-1] - start == len(numbers) - 1:
        return [(start, numbers[-1])]
    spans: list[NumberSpan] = []
    for number in numbers:
        if number > previous + 1:
            spans.append((start, previous))
            start = number
        previous = number
    spans.append((start, previous))
    return spans


def print_spans(spans: Iterable[NumberSpan]) -> bytes:
    """A sequence-set or uid-set of these spans, as `1:3,7,9:*` (RFC 9051 §9)."""
    return b",".join([_print_span(first, last) for first, last in spans])


def _print_span(first: int, last: int) -> bytes:
    if last == STAR:
        return b"*" if first == STAR else b"%d:*" % first
    return b"%d" % first if first == last else b"%d:%d" % (first, last)


def print_numbers(numbers: Sequence[int]) -> bytes:
    """Ascending distinct numbers in the compact form that ESEARCH and COPYUID want (RFC 9051 §7.3.4, §7.1)."""
    return print_spans(runs(numbers))


def print_in_order(numbers: Sequence[int]) -> bytes:
    """Distinct numbers in an order of their own; a range only where they ascend one by one (RFC 5267 §3.2)."""
    spans: list[NumberSpan] = []
    start = previous = None
    for number in numbers:
        if previous is None or number != previous + 1:
            if start is not None and previous is not None:
                spans.append((start, previous))
            start = number
        previous = number
    if start is not None and previous is not None:
        spans.append((start, previous))
    return print_spans(spans)


_OF_THOUSAND = [b"%03d" % number for number in range(1_000)]


def print_each(numbers: Sequence[int]) -> bytes:
    """Ascending distinct numbers one by one, each with a space before it (RFC 3501 §7.2.5). A run without gaps, such as
    all messages of a mailbox, is joined by the thousand: their thousands stand in the separator."""
    if not numbers or numbers[-1] - numbers[0] != len(numbers) - 1:
        return " ".join(["", *map(str, numbers)]).encode()
    first, end = numbers[0], numbers[-1] + 1
    pieces = [b" %d" % number for number in range(first, min(end, 1_000))]
    for start in range(max(1, first // 1_000) * 1_000, end, 1_000):
        some = _OF_THOUSAND[max(0, first - start) : end - start]
        pieces.append((b" %d" % (start // 1_000)).join([b"", *some]))
    return b"".join(pieces)
