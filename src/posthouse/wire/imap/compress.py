"""COMPRESS: the command alone (RFC 4978 §3, §5).

It does not compress: net/deflate.py does, below the engine, which never sees a compressed octet.
"""

from dataclasses import dataclass

from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.grammar import Scanner


@dataclass(frozen=True, slots=True)
class Compress:
    """COMPRESS DEFLATE (RFC 4978 §3)."""

    tag: bytes


def parse_compress(tag: bytes, scanner: Scanner) -> Compress:
    """`SP algorithm`; there is one (RFC 4978 §5). Raises Fault."""
    scanner.space()
    if scanner.word() != b"DEFLATE":
        raise Fault("COMPRESS knows DEFLATE and nothing else.")
    return Compress(tag)
