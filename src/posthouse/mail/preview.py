"""The preview of a message: the beginning of what a person reads in it, as one line of plain text (RFC 8970 §3).

It is taken from the first part of type text, no attachment, that has any: of text/plain the words of its writer before
those quoted, of HTML what is seen (html.py). What is encrypted, or has no text, has the empty preview (RFC 8970 §3.2).

Time and memory are bounded whatever the message holds: at most PARTS parts are tried, SOURCE octets of each.
"""

import re
from collections.abc import Iterator
from itertools import islice

from posthouse.mail.content import text
from posthouse.mail.header import Octets
from posthouse.mail.html import visible
from posthouse.mail.mime import Part, Span

LENGTH = 200  # characters (RFC 8970 §3.3)
SOURCE = 256 * 1024  # octets of a part that are read: newsletters begin with 100 KB of style
PARTS = 10  # text parts that are tried, lest a message of thousands of empty ones keep us busy

_SECRET = frozenset({("multipart", "encrypted"), ("application", "pkcs7-mime"), ("application", "x-pkcs7-mime")})

# Newsletters fill their first line with characters that take no room: joiners, soft hyphens, marks of order.
_FILLERS = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+"
)
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_RULE = re.compile(r"[-=_*~#+.]{4,}")
_SIGNATURE = "-- "  # RFC 3676 §4.3


def preview(octets: Octets, root: Part) -> str:
    """At most LENGTH characters, "" where there is nothing to show. Never raises."""
    shown = (_shown(octets, part) for part in islice(_readable(root), PARTS))
    return next(filter(None, shown), "")


def _readable(root: Part) -> Iterator[Part]:
    """The text parts in order, those of enclosed messages apart."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if (part.type, part.subtype) in _SECRET:
            return
        if part.multipart:
            waiting.extend(reversed(part.children))
        elif part.type == "text" and part.subtype in ("plain", "html") and not _attached(part):
            yield part


def _attached(part: Part) -> bool:
    disposition = part.disposition
    return disposition is not None and disposition[0] == "attachment"


def _shown(octets: Octets, part: Part) -> str:
    body = Span(part.body.start, min(part.body.stop, part.body.start + SOURCE))
    source = text(octets, part._replace(body=body)).value
    words = visible(source, most=100 * LENGTH) if part.subtype == "html" else own_words(source)
    return _line(words)


def _line(words: str) -> str:
    """One line, without what has no meaning in one."""
    words = _BLANKS.sub(" ", _FILLERS.sub("", words[: 20 * LENGTH]))
    words = _BLANKS.sub(" ", _RULE.sub(" ", words)).strip()
    return words[:LENGTH].encode("utf-8", "ignore").decode("utf-8").rstrip()


def own_words(source: str) -> str:
    """Plain text without its signature and, where anything else is left, without what is quoted."""
    lines = []
    for line in source.split("\n"):
        if line.rstrip("\r") == _SIGNATURE:
            break
        lines.append(line)
    own = "\n".join(line for line in lines if not line.startswith(">"))
    return own if own.strip() else "\n".join(line.lstrip("> ") for line in lines)
