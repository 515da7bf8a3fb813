"""Memory that was freed and that the C library keeps: given back to the system (decision 0063).

glibc keeps the freed end of a thread's heap up to twice the largest piece that it ever mapped, and malloc_trim leaves
the heaps of threads alone.
"""

import ctypes

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD of malloc.h
KEPT = 40 << 20  # octets at the end of a heap: while there is work nothing is given back, to be asked for at once again
PIECE = 100_000  # octets of a piece that is large enough for its freeing to look at the end of the heap


def give_back() -> None:
    """Give back the freed end of the heap of this thread. Where the C library is not glibc, it does so by itself or not
    at all."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_TRIM_THRESHOLD, PIECE)
    piece = bytearray(PIECE)
    del piece
    mallopt(_TRIM_THRESHOLD, KEPT)
