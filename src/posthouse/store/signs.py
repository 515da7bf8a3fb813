"""Signs of blocks of the search index: by them a search knows that a text stands in none of the texts of a block,
without unpacking them (decision 0064). Pure: rows are read and written by signed.py.

A sign is the set of the grams of a block's texts: of every run of letters and digits all pieces of GRAM octets, each
as the number of one of BUCKETS. A text that is looked for has runs, too, and each of them lies within one run of
whatever text it stands in: all its grams are there. So a block that lacks one cannot hold the text; a block
that has them all may.

Signs of GROUP blocks lie together, bucket by bucket, one bit for each block: to ask for a gram is to read one number.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from posthouse.mail.fuzzy import Query, without_accents
from posthouse.store.pages import Kind, Page, Wanted, ranges
from posthouse.store.unpacked import SMALL

GRAM = 4  # octets: words of four letters are known by their signs; fewer octets would be in nearly every block
BUCKETS = 127_997  # a prime: of ten to thirty thousand grams of a block few share one
SLICE = 500  # buckets that lie together: 4,000 octets, which fit a page of SQLite
SLICES = -(-BUCKETS // SLICE)
GROUP = 64  # blocks: bits of a number
ASKED = 32  # grams of one text that are asked for; more exclude nothing more
HEADS, BODIES = 0, 1  # the two signs of a block: of its header fields, and of its bodies
SIDES = (HEADS, BODIES)
ALL = (1 << GROUP) - 1
NONE = (0, 0)

_RUNS = re.compile(rb"[0-9A-Z\x80-\xff]{%d,}" % GRAM)

#: The blocks, as bits, that have the gram of this number on this side.
Having = Callable[[int, int], int]


def side_of(kind: Kind) -> int:
    """Which sign knows of a kind of texts."""
    return BODIES if kind is Kind.BODY else HEADS


def grams(runs: Iterable[bytes]) -> Iterator[int]:
    """The numbers of the grams of runs of letters and digits."""
    for run in runs:
        for place in range(len(run) - GRAM + 1):
            yield int.from_bytes(run[place : place + GRAM], "big") % BUCKETS


def grams_of(octets: bytes) -> list[int]:
    """Those of a text that is looked for, at most ASKED."""
    return list(islice(dict.fromkeys(grams(_RUNS.findall(octets))), ASKED))


def sign_of(pages: Iterable[Page]) -> set[int]:
    """The sign of these pages; words with accents are in it with and without them (mail/fuzzy.py)."""
    runs: set[bytes] = set()
    for page in pages:
        for start, stop in ranges(page):  # one text at a time, so that others have their turn
            runs.update(_RUNS.findall(page.octets, start, stop))
    runs.update([without_accents(run) for run in runs if not run.isascii()])
    return set(grams(runs))


def blank() -> "array[int]":
    """Signs of a group of blocks that have none yet."""
    return array("Q", bytes(8 * SLICES * SLICE))


def put(signs: "array[int]", place: int, sign: Iterable[int]) -> None:
    """Put the sign of a block to those of its group."""
    bit = 1 << place
    for gram in sign:
        signs[gram] |= bit


def slices(signs: "array[int]") -> Iterator[bytes]:
    """The signs of a group, cut into pieces."""
    return (signs[start : start + SLICE].tobytes() for start in range(0, len(signs), SLICE))


# --- asking


def askable(one: Wanted) -> bool:
    """Whether signs can tell anything of what is wanted. What is looked for on pages that are kept unpacked is found
    sooner there."""
    if one.query is None and SMALL.issuperset(one.kinds):
        return False
    return one.query is not None or bool(_asked(one))


def possible(one: Wanted, having: Having) -> tuple[int, int]:
    """The blocks of a group, as bits, that may have what is wanted: in their header fields, and in their bodies."""
    sides = {side_of(kind) for kind in one.kinds}
    if one.query is not None:
        return _enough(one.query, [side for side in SIDES if side in sides], having)
    asked = _asked(one)
    heads, bodies = (_with(asked, side, having) if side in sides else 0 for side in SIDES)
    return heads, bodies


def _asked(one: Wanted) -> list[int]:
    return grams_of(one.needle) + ([] if one.name is None else grams_of(one.name.encode()))


def _with(asked: Iterable[int], side: int, having: Having) -> int:
    found = ALL
    for gram in asked:
        found &= having(side, gram)
        if not found:
            break
    return found


def _enough(query: Query, sides: Sequence[int], having: Having) -> tuple[int, int]:
    """Those that may have as many of the words as are needed, wherever each of them stands."""
    words = [_any(sides, [grams_of(form.octets) for form in forms], having) for forms in query.words]
    counts = (sum(word >> place & 1 for word in words) for place in range(GROUP))
    found = sum(1 << place for place, count in enumerate(counts) if count >= query.needed)
    return found, found


def _any(sides: Sequence[int], forms: Iterable[Sequence[int]], having: Having) -> int:
    found = 0
    for asked in forms:
        for side in sides:
            found |= _with(asked, side, having)
        if found == ALL:
            break
    return found
