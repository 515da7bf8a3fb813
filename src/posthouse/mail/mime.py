"""The Part tree of a message: what is where, by offsets, nothing copied (RFC 2045, RFC 2046 §5).

Reads any octets without raising. What it makes of broken mail:
  * no Content-Type, or one that cannot be read: text/plain in US-ASCII (RFC 2045 §5.2);
  * a multipart whose boundary never occurs: one text/plain part with all of its body, so that nothing is hidden;
  * a first line that is neither a field nor blank: no header, all is body, so that nothing is hidden;
  * a boundary line that is missing at the end: the part ends where the enclosing part ends;
  * deeper than MIME_DEPTH, or more than PARTS: one opaque application/octet-stream part with what is left.
Preamble and epilogue of a multipart belong to no part. It does not decode anything: content.py does.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from mmap import mmap
from typing import NamedTuple

from posthouse.mail import parameters as parameterized
from posthouse.mail.header import HEADER_VIEW, Octets, body_start, firsts_of, pairs, searchable, unfold
from posthouse.mail.parameters import Parameters

MIME_DEPTH = 50  # nested multiparts and messages; what lies deeper is shown as one opaque part (limits.md)
PARTS = 2_000  # parts shown; the rest of the multipart is shown as one opaque part (limits.md)
BOUNDARY = 200  # octets; RFC 2046 §5.1.1 allows 70, real mailers exceed it
WORD = 64  # octets of a Content-Transfer-Encoding that is remembered with what it says
FALSE_BOUNDARIES = 100_000  # lines in a whole message that begin like a boundary and are none; then we stop looking
_COUNT_BLOCK = 65_536  # octets whose lines are counted at once; a message's count is kept at every such step

_PLAIN: Parameters = {b"charset": b"us-ascii"}
# RFC 2046 §5.1.1   what may stand behind `CRLF "--" boundary` on its line: "--" for the last one, then padding. That
# the line begins so is enough, but what could go on a boundary (bchars) is taken for a longer one, of a part inside.
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*+(?:\r?(?:\n|\Z)|[^0-9A-Za-z'()+_,./:=? \t\r\n-][^\n]*+(?:\n|\Z))")
_MESSAGES = frozenset({"rfc822", "global"})
_IDENTITIES = frozenset({"7bit", "8bit", "binary"})


class Span(NamedTuple):
    """Octets from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """In octets."""
        return self.stop - self.start


class Part(NamedTuple):
    """A message or body part (RFC 2046 §5.1, §5.2.1).

    `header` goes up to and includes the blank line. `type` and `subtype` are in lower case. `fields` holds the first
    raw value of each header field by its name in lower case. `lines` counts the line ends of the body, for text and
    message/rfc822 only. `children` are the parts of a multipart, `message` is what a message/rfc822 or
    message/global encloses. `cut` is set on the root alone: something lies beyond the limits and is shown as opaque.
    """

    header: Span
    body: Span
    type: str
    subtype: str
    parameters: Parameters
    fields: Mapping[bytes, bytes]
    lines: int = 0
    children: "tuple[Part, ...]" = ()
    message: "Part | None" = None
    cut: bool = False

    @property
    def multipart(self) -> bool:
        """Whether it consists of parts (RFC 2046 §5.1)."""
        return self.type == "multipart"

    @property
    def encoding(self) -> str:
        """The Content-Transfer-Encoding in lower case; "7bit" where there is none (RFC 2045 §6.1)."""
        value = self.fields.get(b"content-transfer-encoding")
        return "7bit" if value is None else _encoding(value)

    @property
    def disposition(self) -> tuple[str, Parameters] | None:
        """The Content-Disposition: its type in lower case and its parameters (RFC 2183 §2), or None."""
        value = self.fields.get(b"content-disposition")
        return None if value is None else parameterized.disposition(value)

    def walk(self) -> "Iterator[Part]":
        """This part and all parts below it, depth first, also those of enclosed messages."""
        yield self
        for child in self.children:
            yield from child.walk()
        if self.message is not None:
            yield from self.message.walk()


def parse(octets: Octets) -> Part:
    """The message as a Part (RFC 5322 §2.1, RFC 2045, RFC 2046). Never raises; time grows linearly with size."""
    return parse_with_fields(octets)[0]


def parse_with_fields(octets: Octets) -> tuple[Part, Sequence[tuple[bytes, bytes]]]:
    """The same, and what `header.pairs` finds in the header of the message, which was looked at anyhow."""
    parser = _Parser(searchable(octets))
    root = parser.message(0, len(octets), 0)
    return root._replace(cut=True) if parser.cut else root, parser.found


def _encoding(value: bytes) -> str:
    """One word: comments and parameters, which do not belong there, are left out."""
    return _remembered_word(value) if len(value) <= WORD else _word(value)


def _word(value: bytes) -> str:
    word = unfold(value).partition(b";")[0].partition(b"(")[0].strip(b" \t\"'")
    return word.decode("ascii", "replace").lower() or "7bit"


_remembered_word = lru_cache(WORD)(_word)  # mail has five of them, in a few spellings


class _Parser:
    """One pass over one message, with the counts that bound it."""

    __slots__ = ("cut", "false_boundaries", "found", "octets", "parts", "steps")

    def __init__(self, octets: bytes | mmap) -> None:
        self.octets = octets
        self.cut = False
        self.parts = 0
        self.found: Sequence[tuple[bytes, bytes]] = ()  # in the header of the message itself
        self.false_boundaries = 0
        self.steps: list[int] | None = None

    def message(self, start: int, stop: int, depth: int) -> Part:
        """A whole message between the offsets (RFC 2046 §5.2.1)."""
        return self.part(start, stop, depth, digest=False)

    def part(self, start: int, stop: int, depth: int, *, digest: bool) -> Part:
        """The part between the offsets; `depth` multiparts and messages are around it."""
        self.parts += 1
        octets = self.octets
        body = body_start(octets, start, stop)
        found = pairs(octets[start : min(body, start + HEADER_VIEW)])
        if self.parts == 1:
            self.found = found
        fields = firsts_of(found)
        kind, subtype, parameters = _content_type(fields.get(b"content-type"), digest=digest)
        header, span = Span(start, body), Span(body, stop)
        if kind == "text":
            return Part(header, span, kind, subtype, parameters, fields, self.lines(body, stop))
        if depth >= MIME_DEPTH and (kind == "multipart" or (kind == "message" and subtype in _MESSAGES)):
            self.cut = True
            return Part(header, span, "application", "octet-stream", {}, fields)
        if kind == "multipart":
            children = self.children(span, parameters, depth + 1, digest=subtype == "digest")
            return Part(header, span, kind, subtype, parameters, fields, children=children)
        if kind == "message" and subtype in _MESSAGES:
            message = self.enclosed(span, depth + 1, fields.get(b"content-transfer-encoding"))
            lines = self.lines(body, stop)
            return Part(header, span, kind, subtype, parameters, fields, lines, message=message)
        return Part(header, span, kind, subtype, parameters, fields)

    def enclosed(self, span: Span, depth: int, encoding: bytes | None) -> Part:
        """The message in a message/rfc822 part. One in base64 or the like (forbidden by RFC 2046 §5.2.1, allowed
        for message/global by RFC 6532 §3.7) is shown as a message that is all text: no offsets lead into it."""
        if encoding is None or _encoding(encoding) in _IDENTITIES:
            return self.message(span.start, span.stop, depth)
        self.parts += 1
        return self.text(span.start, span.stop)

    def text(self, start: int, stop: int) -> Part:
        """Octets shown as plain text because nothing better is known about them (RFC 2045 §5.2)."""
        return Part(Span(start, start), Span(start, stop), "text", "plain", _PLAIN, {}, self.lines(start, stop))

    def children(self, body: Span, parameters: Parameters, depth: int, *, digest: bool) -> tuple[Part, ...]:
        """The parts of a multipart with this body (RFC 2046 §5.1.1)."""
        found: list[Part] = []
        begin = -1
        boundary = _boundary(parameters)
        if len(boundary) > BOUNDARY:
            self.cut, boundary = True, b""
        for stop, after in self.delimiters(body, boundary):
            if begin >= 0:
                found.append(self.part(begin, max(begin, stop), depth, digest=digest))
            begin = after
            if begin < 0:
                break
            if self.parts >= PARTS:
                self.cut = True
                found.append(Part(Span(begin, begin), Span(begin, body.stop), "application", "octet-stream", {}, {}))
                begin = -1
                break
        if begin >= 0:
            found.append(self.part(begin, body.stop, depth, digest=digest))
        if not found:
            self.parts += 1
            found.append(self.text(*body))
        return tuple(found)

    def delimiters(self, body: Span, boundary: bytes) -> Iterator[tuple[int, int]]:
        """For each delimiter line: where the part before it ends, and where the part behind it begins, -1 for
        the close-delimiter (RFC 2046 §5.1.1). The line end before a delimiter belongs to it."""
        if not boundary:
            return
        octets, (start, stop) = self.octets, body
        dashes = b"--" + boundary
        needle = b"\n" + dashes
        at = start if octets[start : min(start + len(dashes), stop)] == dashes else -1
        after = start + len(dashes)
        if at < 0:
            at = self.find(needle, start, stop)
            after = at + len(needle)
        while at >= 0:
            match = _AFTER_BOUNDARY.match(octets, after, stop)
            if match is not None:
                yield at - (octets[at - 1 : at] == b"\r"), -1 if match[1] else match.end()
            else:
                self.false_boundaries += 1
                if self.false_boundaries > FALSE_BOUNDARIES:
                    self.cut = True
                    return
            at = self.find(needle, after, stop)
            after = at + len(needle)

    def find(self, needle: bytes, start: int, stop: int) -> int:
        """As bytes.find. The find of mmap compares octet by octet at every place, which a boundary of dashes in a
        body of dashes makes slow; `re` searches in linear time."""
        if isinstance(self.octets, bytes):
            return self.octets.find(needle, start, stop)
        match = re.compile(re.escape(needle)).search(self.octets, start, stop)
        return -1 if match is None else match.start()

    def lines(self, start: int, stop: int) -> int:
        """Line ends between the offsets. In a large message the counts up to every step are kept, so that
        enclosed messages are not counted again for each level."""
        octets = self.octets
        if stop - start <= 2 * _COUNT_BLOCK:
            return octets[start:stop].count(b"\n")
        steps = self.line_steps()
        low, high = -(-start // _COUNT_BLOCK), stop // _COUNT_BLOCK
        between = steps[high] - steps[low]
        head = octets[start : low * _COUNT_BLOCK].count(b"\n")
        return head + between + octets[high * _COUNT_BLOCK : stop].count(b"\n")

    def line_steps(self) -> list[int]:
        """How many line ends stand before each multiple of the block."""
        if self.steps is None:
            counts = [0]
            for start in range(0, len(self.octets), _COUNT_BLOCK):
                counts.append(counts[-1] + self.octets[start : start + _COUNT_BLOCK].count(b"\n"))
            self.steps = counts
        return self.steps


def _content_type(value: bytes | None, *, digest: bool) -> tuple[str, str, Parameters]:
    """The Content-Type, or what RFC 2045 §5.2 and RFC 2046 §5.1.5 say where there is none."""
    found = None if value is None else parameterized.content_type(value)
    if found is not None:
        return found
    return ("message", "rfc822", {}) if digest and value is None else ("text", "plain", _PLAIN)


def _boundary(parameters: Parameters) -> bytes:
    """The boundary parameter; nothing where there is none."""
    boundary = parameters.get(b"boundary")
    if boundary is None:
        extended = parameterized.text(parameters, b"boundary")
        boundary = b"" if extended is None else extended.encode("utf-8", "replace")
    return boundary.rstrip(b" \t")
