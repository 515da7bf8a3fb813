"""Blocks of the search index as a search looks at them: what of the things wanted stands in their texts. Pure; rows are
read by index.py.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from posthouse.store.marks import marks_of, without_accents
from posthouse.store.pages import CUT, UNREAD, Cards, Kind, Page, Wanted, places, unpack

#: Of one thing wanted: the places of the Emails that have it, or of words the marks by place.
Postings = Collection[int] | dict[int, int]


class Block(NamedTuple):
    """A block as its row has it."""

    id: int
    emails: int
    octets: int
    last: int
    flawed: int


class Found(NamedTuple):
    """What the index knows: for each thing wanted the Emails that have it, among those up to `mark`, or where words are
    wanted their marks by Email; and the Emails of which it is not sure."""

    mark: int
    hits: list[set[int]]
    marks: list[dict[int, int]]
    unsure: set[int]


class Pages:
    """The pages of one block: each is unpacked once, however many keys look at it."""

    __slots__ = ("_bare", "_packed", "_unpacked", "block")

    def __init__(self, block: Block, packed: Mapping[int, bytes], unpacked: Mapping[int, bytes]) -> None:
        self.block = block
        self._packed = packed
        self._unpacked = dict(unpacked)
        self._bare: dict[int, Page] = {}

    def page(self, kind: Kind) -> Page:
        """As it is."""
        if kind not in self._unpacked:
            self._unpacked[kind] = unpack(self._packed[kind])
        return Page(self._unpacked[kind], self.block.emails)

    def bare(self, kind: Kind) -> Page:
        """Without accents."""
        if kind not in self._bare:
            self._bare[kind] = without_accents(self.page(kind))
        return self._bare[kind]

    def forget(self) -> None:
        """Let go of the texts: of many blocks looked at together only what stood in them is held."""
        self._unpacked, self._bare, self._packed = {}, {}, {}


def postings(pages: Pages, wanted: Sequence[Wanted]) -> list[Postings]:
    """What stands in the texts of a block, of each thing wanted. The texts are let go of as soon as that is known."""
    found: list[Postings] = []
    for one in wanted:
        if one.query is not None:
            found.append(marks_of(one, pages.bare))
        elif len(one.kinds) == 1:
            found.append(places(pages.page(one.kinds[0]), one))
        else:
            found.append({place for kind in one.kinds for place in places(pages.page(kind), one)})
    pages.forget()
    return found


def needs_cards(block: Block, found: Sequence[Postings], wanted: Sequence[Wanted]) -> bool:
    """Whether it matters whose texts these are."""
    if block.flawed or any(found):
        return True
    return any([one.fits is not None for one in wanted])


def name(cards: Cards, found: Sequence[Postings], wanted: Sequence[Wanted], result: Found) -> None:
    """Put the Emails for the places into the result, and those whose texts are not whole where that matters."""
    emails = cards.emails
    for one, at, hits, marks in zip(wanted, found, result.hits, result.marks, strict=True):
        if one.fits is not None:
            hits.update(email for email, day in zip(emails, cards.days, strict=True) if one.fits(day))
        elif isinstance(at, dict):
            marks.update((emails[place], mark) for place, mark in at.items())
        else:
            hits.update(map(emails.__getitem__, at))
    if any(cards.flaws):
        least = CUT if any(Kind.BODY in one.kinds for one in wanted) else UNREAD
        result.unsure.update(email for email, flaw in zip(emails, cards.flaws, strict=True) if flaw >= least)
