"""Sizes as people write them: in the settings file, on the command line, and in what is said to users."""

import re

_SIZE = re.compile(r"(\d{1,18}) ?(|[KMGT]i?B)", re.IGNORECASE)
_FACTORS = {
    "": 1,
    "k": 1000,
    "ki": 1024,
    "m": 1000**2,
    "mi": 1024**2,
    "g": 1000**3,
    "gi": 1024**3,
    "t": 1000**4,
    "ti": 1024**4,
}


class Octets(int):
    """A size in octets; in the file also text such as "50 MiB"."""


def parse_octets(value: object) -> Octets | None:
    """A size: a whole number above 0, or text such as "50 MiB"; None where it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Octets(value) if value > 0 else None
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return Octets(int(match[1]) * _FACTORS[match[2].lower().removesuffix("b")]) if int(match[1]) else None
