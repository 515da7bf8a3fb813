"""store/marks.py: words in the fields of one name are found in those fields and in no others."""

import random

import pytest

from posthouse.mail.fuzzy import ELSEWHERE, bit, query
from posthouse.store.marks import all_marks
from posthouse.store.pages import END, Kind, Page, Wanted, page_with

NAMES = ("SUBJECT", "TO", "CC")
WORDS = ("SUBJECT", "INVOICE", "INVOICES", "INVOCE", "TO", "A", ": ", "MEETING", "SUB", "CC", "IN")


def field(chance: random.Random) -> tuple[str, str]:
    return chance.choice(NAMES), " ".join(chance.choices(WORDS, k=chance.randrange(5)))


@pytest.mark.parametrize("asked", ["invoice", "subject", "meeting to", "sub", "cc invoice"])
def test_fields_of_one_name(asked: str) -> None:
    chance, looked, found = random.Random(asked), query(asked), 0
    assert looked is not None
    for _ in range(1_000):
        texts = [[field(chance) for _ in range(chance.randrange(4))] for _ in range(chance.randrange(1, 6))]
        page = page_with([b"".join(END + f"{name}: {value}".encode() for name, value in one) for one in texts])

        def page_of(kind: Kind, page: Page = page) -> Page:
            return page

        name = chance.choice(NAMES)
        marks = all_marks(Wanted((Kind.REST,), name=name, query=looked), page_of)
        for place, one in enumerate(texts):
            expected = 0
            for number, forms in enumerate(looked.words):
                for form in forms:
                    if any(form.pattern.search(f": {value}".encode(), 2) for known, value in one if known == name):
                        expected |= bit(number, ELSEWHERE, off=form.off)
            assert marks.get(place, 0) == expected
            found += expected > 0
    assert found > 50
