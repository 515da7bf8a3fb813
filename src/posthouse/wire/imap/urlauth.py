"""RESETKEY, GENURLAUTH and URLFETCH, read, and their responses (RFC 4467 §7 to §9, RFC 5524 §5).

A URL stays octets here: what is wrong with one is no fault of the command, and its token is made of its octets.
"""

import re
from dataclasses import dataclass
from enum import Enum

from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import OPEN, Scanner
from posthouse.wire.imap.response import print_string

URLS = 100  # of one command: each costs a look into the store
_MECHANISM = re.compile(rb"[A-Za-z0-9.-]+")
INTERNAL = "INTERNAL"
URLMECH = b"URLMECH INTERNAL"  # RFC 4467 §8, the response code


class UrlItem(Enum):
    """url-fetch-param (RFC 5524 §3.1)."""

    STRUCTURE = b"BODYPARTSTRUCTURE"
    BINARY = b"BINARY"
    BODY = b"BODY"


@dataclass(frozen=True, slots=True)
class ResetKey:
    """RESETKEY (RFC 4467 §7): a new key for the mailbox; None: all keys go."""

    tag: bytes
    mailbox: str | None
    mechanisms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenUrlAuth:
    """GENURLAUTH (RFC 4467 §7): rump URLs, each with its mechanism in upper case."""

    tag: bytes
    urls: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True, slots=True)
class UrlFetch:
    """URLFETCH (RFC 4467 §7): URLs, each with the items asked for (RFC 5524 §3.1); none: its octets alone."""

    tag: bytes
    urls: tuple[tuple[bytes, tuple[UrlItem, ...]], ...]


UrlAuthCommand = ResetKey | GenUrlAuth | UrlFetch


def parse_reset_key(tag: bytes, scanner: Scanner) -> ResetKey:
    """resetkey = "RESETKEY" [SP mailbox *(SP mechanism)] (RFC 4467 §9)."""
    mailbox: str | None = None
    mechanisms: list[str] = []
    while not scanner.ended:
        if mailbox is None:
            scanner.space()
            mailbox = scanner.mailbox()
        else:
            mechanisms.append(_mechanism(scanner))
        if len(mechanisms) > URLS:
            raise over_limit(f"RESETKEY takes at most {URLS} mechanisms.")
    return ResetKey(tag, mailbox, tuple(mechanisms))


def _mechanism(scanner: Scanner) -> str:
    scanner.space()
    return scanner.match(_MECHANISM, "the name of a mechanism")[0].decode("ascii").upper()


def parse_gen_url_auth(tag: bytes, scanner: Scanner) -> GenUrlAuth:
    """genurlauth = "GENURLAUTH" 1*(SP url-rump SP mechanism) (RFC 4467 §9)."""
    urls: list[tuple[bytes, str]] = []
    while not scanner.ended or not urls:
        scanner.space()
        url = scanner.astring()
        urls.append((url, _mechanism(scanner)))
        if len(urls) > URLS:
            raise over_limit(f"GENURLAUTH takes at most {URLS} URLs.")
    return GenUrlAuth(tag, tuple(urls))


def parse_url_fetch(tag: bytes, scanner: Scanner) -> UrlFetch:
    """urlfetch = "URLFETCH" 1*(SP url-fetch-arg) (RFC 5524 §5)."""
    urls: list[tuple[bytes, tuple[UrlItem, ...]]] = []
    while not scanner.ended or not urls:
        scanner.space()
        urls.append(_extended(scanner) if scanner.peek() == OPEN else (scanner.astring(), ()))
        if len(urls) > URLS:
            raise over_limit(f"URLFETCH takes at most {URLS} URLs.")
    return UrlFetch(tag, tuple(urls))


def _extended(scanner: Scanner) -> tuple[bytes, tuple[UrlItem, ...]]:
    """url-fetch-ext = "(" url-full *(SP url-fetch-param) ")" (RFC 5524 §5)."""
    scanner.mark(b"(")
    url = scanner.astring()
    items: list[UrlItem] = []
    while not scanner.take(b")"):
        scanner.space()
        word = scanner.word()
        try:
            item = UrlItem(word)
        except ValueError:
            raise Fault("URLFETCH knows BODYPARTSTRUCTURE, BINARY and BODY.") from None
        if item in items:
            raise Fault("An item of URLFETCH may be asked for once only.")
        items.append(item)
    if UrlItem.BINARY in items and UrlItem.BODY in items:
        raise Fault("URLFETCH gives either BINARY or BODY.")
    return url, tuple(items)


def print_gen_url_auth(urls: tuple[bytes, ...]) -> bytes:
    """genurlauth-data (RFC 4467 §9)."""
    return b"* GENURLAUTH %b\r\n" % b" ".join([print_string(url) for url in urls])


def print_url_fetch(url: bytes) -> bytes:
    """The beginning of urlfetch-data: what the URL gives must follow behind a space (RFC 4467 §9)."""
    return b"* URLFETCH " + print_string(url)
