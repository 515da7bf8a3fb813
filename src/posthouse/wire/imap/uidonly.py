"""UIDFETCH: what stands for FETCH once UIDONLY is enabled (RFC 9586 §3.3, §3.6).

The items of a response are those of FETCH; where the message number stood, the UID stands. It does not know whether
the extension is enabled.
"""

from dataclasses import replace

from posthouse.wire.imap.fetch import FetchItem
from posthouse.wire.imap.fetch_response import FetchPlan, plan, print_flag_list

UIDREQUIRED = b"UIDREQUIRED"


def uid_plan(items: tuple[FetchItem, ...]) -> FetchPlan:
    """The plan whose responses begin with the UID; the UID item is there only when it was asked for."""
    usual = plan(items)
    return replace(usual, template=usual.template.replace(b"* %d FETCH (", b"* %d UIDFETCH (", 1))


def print_uid_flags(uid: int, bits: int, keywords: str, modseq: int | None = None) -> bytes:
    """What tells of changed flags; with MODSEQ where the client is aware of it (RFC 9586 §3.7)."""
    flags = print_flag_list(bits, keywords)
    if modseq is None:
        return b"* %d UIDFETCH (FLAGS %b)\r\n" % (uid, flags)
    return b"* %d UIDFETCH (MODSEQ (%d) FLAGS %b)\r\n" % (uid, modseq, flags)


def print_uid_modseq(uid: int, modseq: int) -> bytes:
    """What tells of a new mod-sequence alone."""
    return b"* %d UIDFETCH (MODSEQ (%d))\r\n" % (uid, modseq)
