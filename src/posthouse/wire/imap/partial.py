"""PARTIAL: a range of places among results, of SEARCH and of FETCH, read (RFC 5267 §4.4, RFC 9394 §3.1, §3.3).

It does not know results: `places` says where they stand among so many.
"""

import re
from dataclasses import dataclass

from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.number_set import LARGEST

# RFC 9394 §4   partial-range = nz-number ":" nz-number / MINUS nz-number ":" MINUS nz-number
_PARTIAL = re.compile(rb"(-?)([1-9][0-9]{0,19}):(-?)([1-9][0-9]{0,19})")


@dataclass(frozen=True, slots=True)
class PartialRange:
    """A partial-range as it was asked for: places among the results from 1 on, or from -1 back (RFC 9394 §3.1)."""

    first: int
    last: int

    def places(self, count: int) -> slice:
        """Where these stand among `count` results; what is beyond them is left out."""
        low, high = sorted((self.first, self.last))
        if low > 0:
            return slice(low - 1, min(high, count))
        return slice(max(0, count + low), max(0, count + high + 1))


def parse_partial(scanner: Scanner) -> PartialRange:
    """partial-range, behind `PARTIAL` and its space (RFC 9394 §4)."""
    found = scanner.match(_PARTIAL, "a range such as 1:500 or -1:-500")
    if found[1] != found[3]:
        raise Fault("Both ends of a range count from the same side, as in 1:500 or -1:-500.")
    first, last = int(found[1] + found[2]), int(found[3] + found[4])
    if max(abs(first), abs(last)) > LARGEST:
        raise Fault(f"A range ends at {LARGEST}.")
    return PartialRange(first, last)
