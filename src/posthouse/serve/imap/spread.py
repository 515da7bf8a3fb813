"""FUZZY, spread over the keys it stands before: what is left of it stands before each text (RFC 6203 §3, §5)."""

from collections.abc import Iterator

from posthouse.wire.imap.search import And, BodyContains, Fuzzy, HeaderContains, Not, Or, SearchKey, TextContains


def spread(key: SearchKey, *, near: bool = False) -> SearchKey:
    """The program with FUZZY before its texts alone, which are all that it means something for."""
    match key:
        case Fuzzy(inner):
            return spread(inner, near=True)
        case Not(inner):
            return Not(spread(inner, near=near))
        case Or(first, second):
            return Or(spread(first, near=near), spread(second, near=near))
        case And(several):
            return And(tuple(spread(one, near=near) for one in several))
        case HeaderContains() | BodyContains() | TextContains() if near:
            return Fuzzy(key)
    return key


def texts_of(key: SearchKey) -> Iterator[Fuzzy]:
    """The texts that are looked for nearly, in a program that is spread."""
    match key:
        case Fuzzy():
            yield key
        case Not(inner):
            yield from texts_of(inner)
        case Or(first, second):
            yield from texts_of(first)
            yield from texts_of(second)
        case And(several):
            for one in several:
                yield from texts_of(one)
