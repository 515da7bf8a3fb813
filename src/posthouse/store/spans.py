"""Spans: sets of UIDs as inclusive (first, last) pairs, ascending, not overlapping."""

from collections.abc import Sequence

LAST_UID = 0xFFFFFFFF  # RFC 9051 §2.3.1.1: a UID has 32 bits

Spans = Sequence[tuple[int, int]]
ALL: Spans = ((1, LAST_UID),)


def clip(spans: Spans, uidnext: int) -> Spans:
    """The part below `uidnext`: what a script inserts above it must not be met again by its next statement."""
    return tuple((first, min(last, uidnext - 1)) for first, last in spans if first < uidnext)
