"""Which words stand in the texts of a block of the search index, or of one message made into such pages (RFC 6203):
the marks of mail/fuzzy.py. One function looks for both, so it makes no difference what the index holds."""

from bisect import bisect_right
from collections.abc import Callable, Iterator

from posthouse.mail.fuzzy import ELSEWHERE, PEOPLE, TITLE, Form, bit, enough
from posthouse.mail.fuzzy import without_accents as bare
from posthouse.mail.text import Texts
from posthouse.store.pages import END, KINDS, Kind, Page, Wanted, entry, page_with, ranges

STRETCH = 32 * 1024  # octets looked at in one go: 20 ms at worst
OVERLAP = 512  # octets of two of them, more than any form is long, with what must follow it
AHEAD = 8  # octets behind a form that its pattern may look at
ACCENTS = (b"\xcc", b"\xcd")  # with which the octets of accents begin that texts hold decomposed
PLACES = {Kind.SUBJECT: TITLE, Kind.SENDER: PEOPLE, Kind.PEOPLE: PEOPLE}


def without_accents(page: Page) -> Page:
    """The page as words are looked for in it."""
    if not any(_holds(page, lead) for lead in ACCENTS):
        return page
    return page_with([bare(page.octets[start:stop]) for start, stop in ranges(page)])


def marks_of(wanted: Wanted, page: Callable[[Kind], Page]) -> dict[int, int]:
    """The marks of those texts that have enough of the words, by their place on the pages, which are without
    accents."""
    query = wanted.query
    if query is None:
        return {}
    return {place: mark for place, mark in all_marks(wanted, page).items() if enough(mark, query)}


def all_marks(wanted: Wanted, page: Callable[[Kind], Page]) -> dict[int, int]:
    """The same of all texts that have one of the words: one that comes in pieces may have enough of them together."""
    marks: dict[int, int] = {}
    query = wanted.query
    if query is None or (wanted.name is not None and ":" in wanted.name):
        return marks
    head = b"" if wanted.name is None else END + bare(f"{wanted.name}: ".encode())
    for kind in wanted.kinds:
        looked, where = page(kind), PLACES.get(kind, ELSEWHERE)
        for number, form in ((number, form) for number, forms in enumerate(query.words) for form in forms):
            one = bit(number, where, off=form.off)
            for place in _within(looked, head, form) if head else _anywhere(looked, form):
                marks[place] = marks.get(place, 0) | one
    return marks


def _anywhere(page: Page, form: Form) -> Iterator[int]:
    if not _holds(page, form.octets):
        return
    octets, starts, begin = page.octets, page.starts, page.begin
    at = _search(form, octets, begin, len(octets))
    while at >= 0:
        place = bisect_right(starts, at - begin)
        yield place - 1
        at = _search(form, octets, begin + starts[place], len(octets)) if place < len(starts) else -1


def _within(page: Page, head: bytes, form: Form) -> Iterator[int]:
    """In the fields that begin so. Looked at are only those in which the octets of the form stand."""
    octets, starts, begin = page.octets, page.starts, page.begin
    at = octets.find(form.octets, begin)
    while at >= 0:
        field, stop = octets.rfind(END, begin, at), octets.find(END, at)
        stop = stop if stop >= 0 else len(octets)
        if octets.startswith(head, field) and _search(form, octets, field + len(head), stop) >= 0:
            yield bisect_right(starts, field - begin) - 1
        at = octets.find(form.octets, stop)


def _holds(page: Page, octets: bytes) -> bool:
    return page.octets.find(octets, page.begin) >= 0


def _search(form: Form, octets: bytes, begin: int, end: int) -> int:
    """Where it is found, or -1. No call looks at more than STRETCH, so that others have their turn however often the
    text holds half of a word."""
    while True:
        stop = min(begin + STRETCH, end)
        match = form.pattern.search(octets, begin, stop)
        if match is not None and (stop == end or match.end() < stop - AHEAD):
            return match.start()
        if stop == end:
            return -1
        begin = stop - OVERLAP


def alone(texts: Texts) -> Callable[[Kind], Page]:
    """The pages of one message, without accents. What no index holds is there, too: NUL and halves of surrogates are
    taken for other signs."""
    fields = [(_clean(name), _clean(value)) for name, value in texts.fields]
    clean = Texts(fields, [_clean(one) for one in texts.mime], [_clean(one) for one in texts.bodies], True)
    made = [page_with([bare(octets)]) for octets in entry(0, b"", None, clean).texts]
    return dict(zip(KINDS, made, strict=True)).__getitem__


def _clean(text: str) -> str:
    return text if text.isascii() and "\0" not in text else text.replace("\0", " ").encode("utf-8", "replace").decode()
