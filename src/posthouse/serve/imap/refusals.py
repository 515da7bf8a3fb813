"""What several commands refuse in the same words (RFC 9051 §7.1, RFC 5530 §3)."""

from posthouse.serve.errors import words
from posthouse.store.script import Forbidden, Full, OverQuota, Refused, StoreError
from posthouse.wire.imap import code
from posthouse.wire.imap.response import StatusResponse, bad, no


def no_such_number(tag: bytes) -> StatusResponse:
    """The answer to a sequence number beyond the last message (RFC 9051 §9, seq-number)."""
    return bad(tag, "There is no message with that number.")


def sentence(text: str) -> str:
    """The reason an exception carries, as a sentence for a person."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def refusal(tag: bytes, error: StoreError) -> StatusResponse:
    """What the store refuses, as a tagged NO (RFC 5530 §3)."""
    if isinstance(error, Refused):
        return no(tag, sentence(str(error)), code.CANNOT)
    if isinstance(error, OverQuota | Full):
        return no(tag, sentence(str(error)), code.OVERQUOTA)
    if isinstance(error, Forbidden):
        return no(tag, sentence(str(error)), code.NOPERM)
    response_code, text = words(error).imap
    return no(tag, text, response_code or None)
