"""Words that are looked for nearly (RFC 6203): in which forms each is found, which texts have enough of them, and what
that is worth.

A word is found where a word of the text begins as it does, less its ending ("meetings" finds "meeting"), or
where a whole word of the text is off by one letter ("mesage" finds "message"). A piece of a script without spaces is
found anywhere. Accents are off on both sides. Whether a text has enough words depends on nothing but the text
and what is looked for; only its worth depends on what else was found. Pure: who has the texts asks (store/marks.py).

Every text begins with an octet that is no letter (store/pages.py), so a word at its begin is found too.
"""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from posthouse.mail.text import comparable, unspaced, words

WORDS = 12  # of one text that is looked for: the rest is disregarded; each costs some passes over the texts
ALL_OF = 2  # words that must all be found; of more it is half of them
STEM = 4  # characters that are left of a word without its ending, at least
MISSPELT = 5  # letters of a word that may be off by one; shorter ones are other words then

# Places where a word is found, from the one that says most.
TITLE, PEOPLE, ELSEWHERE = 0, 1, 2
_PLACES = 3
_WORTH = (4.0, 2.0, 3.0, 1.5, 1.0, 0.5)  # of a place, and of being off there
_BITS = 2 * _PLACES  # of one word in a mark
_EACH = (1 << _BITS) - 1
EXACT = 1 << _BITS * WORDS  # the bit of a text that holds exactly what is looked for

_ACCENTS = re.compile(rb"\xcc[\x80-\xbf]|\xcd[\x80-\xaf]")  # U+0300 to U+036F
_ENDINGS = tuple(ending.encode() for ending in ("INGS", "ING", "IES", "EN", "ED", "ES", "ER", "E", "S", "Y"))
# What stands before a word: no letter or digit of ASCII, the rest of Latin-1, signs of all kinds, or a character of a
# script without spaces; each of a fixed width, as Python asks.
_BEFORE = (rb"[^A-Z0-9\x80-\xff]", rb"\xc2.", rb"[\xe2-\xed\xef]..", rb"\xf0...")
_AFTER = rb"S?(?![A-Z0-9\x80-\xff])"
_LETTER = {1: rb"[A-Z]", 2: rb"[\xc3-\xdf][\x80-\xbf]"}  # by octets


class Form(NamedTuple):
    """A form of a word. The octets stand wherever the pattern is found."""

    octets: bytes
    pattern: re.Pattern[bytes]
    off: bool  # by one letter


class Query(NamedTuple):
    """What is looked for: the forms of each word."""

    words: tuple[tuple[Form, ...], ...]

    @property
    def needed(self) -> int:
        """How many of the words a text must have."""
        count = len(self.words)
        return count if count <= ALL_OF else (count + 1) // 2


def query(wanted: str) -> Query | None:
    """What to look for; None where the text has no words."""
    several = words(without_accents(comparable(wanted).encode("utf-8", "replace")).decode(), WORDS)
    return _query(tuple(several)) if several else None


@lru_cache(64)
def _query(several: tuple[str, ...]) -> Query:
    return Query(tuple(tuple(_forms(word)) for word in several))


def without_accents(octets: bytes) -> bytes:
    """Comparable text without the accents that it holds decomposed."""
    return _ACCENTS.sub(b"", octets) if b"\xcc" in octets or b"\xcd" in octets else octets


def _forms(word: str) -> Iterator[Form]:
    octets = word.encode()
    if unspaced(word):
        yield Form(octets, re.compile(re.escape(octets)), False)
        return
    stem = _stem(octets)
    yield Form(stem, _begun(stem, _BEFORE, b""), False)
    if len(word) >= MISSPELT and word.isalpha() and len({len(letter.encode()) for letter in word}) == 1:
        yield from _misspelt([letter.encode() for letter in word])


def _stem(octets: bytes) -> bytes:
    for ending in _ENDINGS:
        if octets.endswith(ending) and len(octets) - len(ending) >= STEM:
            return octets[: -len(ending)]
    return octets


def _begun(octets: bytes, before: Sequence[bytes], rest: bytes) -> re.Pattern[bytes]:
    """The octets at the begin of a word. What stands before is looked at when they were found, so that they are looked
    for at the speed of a text."""
    plain = re.escape(octets)
    behind = b"|".join([b"(?<=%b%b)" % (one, plain) for one in before])
    return re.compile(b"%b(?:%b)%b" % (plain, behind, rest), re.DOTALL)


def _misspelt(letters: Sequence[bytes]) -> Iterator[Form]:
    """One letter too many, too few, another, or two of them swapped: one half of the word is right in any case, unless
    the two in its middle are swapped."""
    letter = _LETTER.get(len(letters[0]))
    if letter is None:
        return
    middle = len(letters) // 2
    one, two = letters[:middle], letters[middle:]
    first, last = b"".join(one), b"".join(two)
    before = _BEFORE[:1]
    yield Form(first, _begun(first, before, b"(?:%b)" % b"|".join(_off(two, letter)) + _AFTER), True)
    wrong = [before[0] + other for other in _off(one, letter)]
    behind = b"|".join([b"(?<=%b%b)" % (other, re.escape(last)) for other in wrong])
    yield Form(last, re.compile(b"%b(?:%b)%b" % (re.escape(last), behind, _AFTER), re.DOTALL), True)
    swapped = b"".join([*one[:-1], two[0], one[-1], *two[1:]])
    yield Form(swapped, _begun(swapped, before, _AFTER), True)


def _off(half: Sequence[bytes], letter: bytes) -> list[bytes]:
    """Patterns of the half, off by one letter."""
    half = [re.escape(one) for one in half]
    found = []
    for place in range(len(half)):
        head, tail = half[:place], half[place + 1 :]
        found += [[*head, *tail], [*head, letter, *tail], [*half[: place + 1], letter, *tail]]
        if tail:
            found.append([*head, tail[0], half[place], *tail[1:]])
    return [b"".join(one) for one in found]


# --- marks: which words a text has, where


def bit(word: int, place: int, *, off: bool) -> int:
    """The bit of a mark that says that the word of this number stands at this place."""
    return 1 << word * _BITS + place * 2 + off


def enough(mark: int, wanted: Query) -> bool:
    """Whether so many of the words were found that the text matches."""
    return sum(1 for word in range(len(wanted.words)) if mark >> word * _BITS & _EACH) >= wanted.needed


@lru_cache(1 << _BITS)
def _worth(bits: int) -> float:
    return max((worth for place, worth in enumerate(_WORTH) if bits >> place & 1), default=0.0)


def worths(marks: Collection[int], count: int) -> list[float]:
    """What each mark is worth beside the others: a word counts for more where it stands higher and where few have it,
    the exact text once more."""
    rare = []
    for word in range(count):
        having = sum(1 for mark in marks if mark >> word * _BITS & _EACH)
        rare.append(math.log(1 + len(marks) / having) if having else 1.0)
    exactly = 1.0 + sum(rare)
    return [
        sum(weight * _worth(mark >> word * _BITS & _EACH) for word, weight in enumerate(rare))
        + (exactly if mark & EXACT else 0.0)
        for mark in marks
    ]
