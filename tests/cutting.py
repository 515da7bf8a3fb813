"""Octets cut anywhere, as a network may do it: drawn by Hypothesis."""

from itertools import pairwise

from hypothesis import strategies as st


def pieces_of(octets: bytes, data: st.DataObject, most: int = 20) -> list[bytes]:
    """The octets, cut at up to so many places; pieces may be empty."""
    places = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=most)))
    return [octets[start:stop] for start, stop in pairwise([0, *places, len(octets)])]
