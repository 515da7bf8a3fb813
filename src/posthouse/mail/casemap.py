"""i;unicode-casemap: text as SORT, THREAD and comparisons without regard to case see it (RFC 5051 §2).

Each character is made titlecase by its simple mapping and then decomposed as far as its decomposition mapping goes;
what is left is compared octet by octet in UTF-8, which is the order of code points and so the order of Python's str.
"""

import unicodedata

REMEMBERED = 8_192  # characters whose mapping is kept; the rest is computed again


def casemap(text: str) -> str:
    """The text with every character mapped (RFC 5051 §2, step 2)."""
    return text.upper() if text.isascii() else text.translate(_MAPPING)


class _Mapping(dict[int, str]):
    """The mappings that were needed so far, by code point."""

    def __missing__(self, point: int) -> str:
        mapped = _map(chr(point))
        if len(self) < REMEMBERED:
            self[point] = mapped
        return mapped


_MAPPING = _Mapping()


def _map(character: str) -> str:
    title = character.title()
    return _decompose(title if len(title) == 1 else character)  # a longer one is a special casing, no simple mapping


def _decompose(character: str) -> str:
    """The character's decomposition, and that of each character of it (RFC 5051 §2, step 2b). The mappings of Unicode
    are four deep at most."""
    fields = unicodedata.decomposition(character).split()
    if fields and fields[0].startswith("<"):
        fields = fields[1:]
    return "".join([_decompose(chr(int(one, 16))) for one in fields]) if fields else character
