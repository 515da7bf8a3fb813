"""Mail that will be signed is made fit for every server before it is (RFC 6376 §5.3, decision 0136).

What a server without 8BITMIME cannot take is encoded anew, by us when we hand it over or by somebody behind the next
server, and no signature over the body survives that. So it is done first: the parts that need it get a transfer
encoding (mail/downgrade.py), and what is kept, signed and sent is one and the same. But a message that is enclosed is
not touched for that: it may be there because of its octets, and have a signature of its own.
"""

import asyncio
from collections.abc import Sequence
from mmap import mmap

from posthouse.mail.downgrade import Unfit, fit, needs
from posthouse.mail.fold import Change
from posthouse.mail.mime import parse
from posthouse.transport.parcel import AT_ONCE, measured
from posthouse.transport.spool import kept

LARGEST = 64 * 1024 * 1024  # octets of a message that is taken apart in memory; a larger one is signed as it is
LARGE_AT_ONCE = 1  # of those that are done in a thread: each takes several times its size

_turns = asyncio.Semaphore(LARGE_AT_ONCE)


async def encoded(octets: bytes | mmap, front: bytes = b"", changes: Sequence[Change] = ()) -> bytes | None:
    """The message, with `front` before it and these spans replaced, encoded as every server takes it; None where that
    is not needed, or cannot be done: then no server gets another than this."""
    parcel = await measured(octets)
    if parcel.fault is not None or parcel.size > LARGEST or not (parcel.eight_bit or parcel.long_lines):
        return None
    if parcel.size <= AT_ONCE:
        return _encoded(octets, front, changes)
    async with _turns:
        return await asyncio.to_thread(_encoded, octets, front, changes)


def _encoded(octets: bytes | mmap, front: bytes, changes: Sequence[Change]) -> bytes | None:
    whole = b"".join([front, *kept(octets, changes)])
    if _encloses(whole):
        return None
    done = fit(whole, eight_bit=False)
    if isinstance(done, Unfit):  # its header is UTF-8: for servers that take eight bits, and no long lines
        done = fit(whole, eight_bit=True)
    return None if isinstance(done, Unfit) or done == whole else done


def _encloses(octets: bytes) -> bool:
    """Whether a message is enclosed that would be encoded anew."""
    return any(
        part.message is not None
        and part.subtype != "global"  # which is put into base64 as it is (RFC 6532 §3.7)
        and needs(octets[part.body.start : part.body.stop], eight_bit=False)
        for part in parse(octets).walk()
    )
