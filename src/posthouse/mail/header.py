"""Header fields: cut, unfold, find, and encoded-words decoded (RFC 5322 §2.2, RFC 2047).

Line ends may be CRLF or a bare LF: mail from files and from other servers' stores has both. Nothing here raises
for what a message contains; a line that is no field is passed over, as every other mail program does, unless it is
the first: then there is no header (`body_start`).
"""

import binascii
import re
from collections.abc import Sequence
from itertools import groupby, islice
from mmap import mmap
from typing import NamedTuple

from posthouse.mail import charset as charsets

HEADER_VIEW = 1 << 20  # octets of a header that are looked at; the transport refuses longer ones (limits.md)
FIELDS = 1_000  # fields of one header that are looked at; a header of a million empty fields stays cheap
FIELD_VALUE = 262_144  # octets of one field's value that are decoded; longer ones are refused by the transport
ENCODED_WORDS = 200  # encoded-words decoded in one field; what follows is shown as it is
MESSAGE_IDS = 1_000  # of one References field; the longest real threads have some hundreds
CHARSET_NAME = 64  # octets of the charset name in an encoded-word; RFC 2978 §2.3 allows 40, with a language tag
BASE64_RUNS = 10_000  # pieces of base64 with padding between them that are decoded apart; real mail has one
_FEW_OCTETS = 65_536  # below this, all fields are cut in one call; above, one by one up to FIELDS

Octets = bytes | mmap | memoryview

# RFC 5322 §2.2   field = field-name ":" unstructured CRLF; §4.5 allows WSP before the colon. Folded lines follow.
_FIELD = re.compile(rb"^([!-9;-~\x80-\xff]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.MULTILINE)
_WHOLE_FIELD = re.compile(rb"^(([!-9;-~\x80-\xff]++)[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+\n?+)", re.MULTILINE)
_FIELD_NAME = re.compile(rb"[!-9;-~\x80-\xff]++[ \t]*+:")
_MBOX_LINE = re.compile(rb">?From ")  # of an mbox file, copied with the message behind it
_FOLD = re.compile(rb"\r?\n")
_MESSAGE_ID = re.compile(rb"<([^<>]*+)>")
_WORD_GAP = re.compile(r"[ \t\r\n]*\Z")
_BLANK_LINES = (b"\n", b"\r\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Field(NamedTuple):
    """One header field by its offsets in the octets it was found in (RFC 5322 §2.2). `name` is as spelled;
    the value begins at `value_start`, just after the colon; `stop` is behind the field's line end."""

    name: bytes
    start: int
    value_start: int
    stop: int


def header_end(octets: Octets, start: int = 0, stop: int | None = None) -> int:
    """The offset of the first octet behind the blank line that ends the header (RFC 5322 §2.1), or `stop` where
    there is no blank line: then everything is header."""
    octets = searchable(octets)
    stop = len(octets) if stop is None else stop
    if octets[start : start + 1] == b"\n" and start < stop:
        return start + 1
    if octets[start : start + 2] == b"\r\n" and start + 1 < stop:
        return start + 2
    first = octets.find(b"\n", start, stop)
    if first < 0:
        return stop
    # Look for the message's own kind of line end first: it bounds the search for the other kind.
    crlf_first = octets[first - 1 : first] == b"\r"
    ends = (b"\n\r\n", b"\n\n") if crlf_first else (b"\n\n", b"\n\r\n")
    best = stop
    for end in ends:
        found = octets.find(end, first, best)
        if found >= 0:
            best = found + len(end)
    return best


def body_start(octets: Octets, start: int = 0, stop: int | None = None) -> int:
    """Where the body begins: behind the header, or at `start` where the first line is neither a field nor blank. Then
    there is no header and all is body, so that nothing is hidden; mbox's own line before a header is passed over."""
    octets = searchable(octets)
    end = header_end(octets, start, stop)
    if _FIELD_NAME.match(octets, start, end) is not None or octets[start : min(end, start + 3)] in _BLANK_LINES:
        return end
    if _MBOX_LINE.match(octets, start, end) is None:
        return start
    return end if _FIELD.search(octets, start, min(end, start + HEADER_VIEW)) is not None else start


def searchable(octets: Octets) -> bytes | mmap:
    """The same octets as something that has `find`. A memoryview of a whole bytes or mmap object costs nothing;
    any other memoryview is copied."""
    if not isinstance(octets, memoryview):
        return octets
    source = octets.obj
    if isinstance(source, bytes | mmap) and len(source) == octets.nbytes and octets.c_contiguous:
        return source
    return octets.tobytes()


def split(octets: Octets, start: int = 0, stop: int | None = None) -> list[Field]:
    """The fields of the header that begins at `start`, at most FIELDS of them, in order (RFC 5322 §2.2). `stop`
    is where the search for the header's end ends, if not at the end of the octets."""
    octets = searchable(octets)
    end = min(header_end(octets, start, stop), start + HEADER_VIEW)
    fields: list[Field] = []
    for match in islice(_FIELD.finditer(octets, start, end), FIELDS):
        after = match.end()
        if octets[after : after + 1] == b"\n" and after < end:
            after += 1
        fields.append(Field(match[1], match.start(), match.start(2), after))
    return fields


def pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """Names and raw values of the fields of a header block, at most FIELDS (RFC 5322 §2.2). A raw value begins
    behind the colon; its folding is kept, its own line end is not, but for the CR of it."""
    if len(block) <= _FEW_OCTETS:
        return _FIELD.findall(block)[:FIELDS]
    return [(match[1], match[2]) for match in islice(_FIELD.finditer(block, 0, HEADER_VIEW), FIELDS)]


def whole_fields(block: bytes) -> list[tuple[bytes, bytes]]:
    """All fields of a header block of a few octets: each as it stands there, with its line end, and its name."""
    return _WHOLE_FIELD.findall(block)


def firsts(block: bytes) -> dict[bytes, bytes]:
    """The first raw value of each field of a header block, by the field's name in lower case."""
    return firsts_of(pairs(block))


def firsts_of(found: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The same of a block that was cut already."""
    return {name.lower(): value for name, value in reversed(found)}


def first(octets: Octets, name: bytes) -> bytes | None:
    """The raw value of the first field called `name`, in any case, or None (RFC 5322 §2.2)."""
    wanted = name.lower()
    octets = searchable(octets)
    end = min(header_end(octets), HEADER_VIEW)
    if octets[:end].lower().find(wanted) < 0:  # most that are asked for are not there
        return None
    for match in islice(_FIELD.finditer(octets, 0, end), FIELDS):
        if match[1].lower() == wanted:
            return match[2].rstrip(b"\r\n")
    return None


def unfold(value: bytes) -> bytes:
    """One line, without the white space at both ends (RFC 5322 §2.2.3). NUL octets, which no protocol of ours can
    carry in a string, are dropped (RFC 8621 §4.1.2.1)."""
    if b"\n" in value:
        value = _FOLD.sub(b"", value)
    if b"\0" in value:
        value = value.replace(b"\0", b"")
    return value.strip(b" \t\r")


def select_fields(block: bytes, names: frozenset[bytes], *, matching: bool) -> bytes:
    """The fields of a header block whose names are (or, with matching=False, are not) among `names`, given in
    lower case, octet for octet, and the blank line behind them (RFC 9051 §6.4.5.1, HEADER.FIELDS and
    HEADER.FIELDS.NOT). The blank line is left out where the block has none."""
    end = header_end(block)
    kept: list[bytes] = []
    for match in _FIELD.finditer(block, 0, end):
        if (match[1].lower() in names) is matching:
            kept.append(match[0])
            kept.append(block[match.end() : match.end() + 1])
    kept.append(_blank_line(block, end))
    return b"".join(kept)


def _blank_line(block: bytes, end: int) -> bytes:
    """The blank line that ends the header, as it is written, or nothing where the block just stops."""
    for blank in (b"\r\n", b"\n"):
        if block[:end] == blank or block[:end].endswith(b"\n" + blank):
            return blank
    return b""


def decode_text(value: bytes) -> str:
    """The octets of a header as text: UTF-8 (RFC 6532 §3.1), or else what old mailers meant, windows-1252."""
    if value.isascii():
        return value.decode("ascii")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return charsets.western(value)


def decode_words(value: bytes | str) -> str:
    """Unfolded text with its encoded-words decoded (RFC 2047 §6). White space between two encoded-words is dropped,
    and octets of a character cut in two by neighbours of one charset are joined before decoding, because real mailers
    cut there. Words that touch other text are decoded too: mailers write `Re:=?...` and people want to read it, though
    RFC 8621 §4.1.2.2 would leave it. What cannot be decoded stays as it is. Control characters are dropped."""
    text = value if isinstance(value, str) else _decode_plain(value)
    if "=?" in text:
        text = _decode_words(text)
    return _CONTROL.sub(_plain_control, text) if not text.isprintable() else text


def _decode_plain(value: bytes) -> str:
    if len(value) <= FIELD_VALUE and value.isascii():
        text = value.strip(b" \t\r").decode("ascii")
        if text.isprintable():  # and so on one line, without NUL
            return text
    return decode_text(unfold(value[:FIELD_VALUE]))


def _plain_control(match: re.Match[str]) -> str:
    return " " if match[0] in "\t\r\n" else ""


def message_ids(value: bytes) -> list[str]:
    """The msg-ids of Message-ID, In-Reply-To or References without their angle brackets (RFC 5322 §3.6.4), at most
    MESSAGE_IDS. Phrases between them, which RFC 5322 §4.5.4 allows, are passed over; a lone word without brackets is
    taken for one."""
    line = unfold(value[:FIELD_VALUE])
    found = [match[1] for match in islice(_MESSAGE_ID.finditer(line), MESSAGE_IDS)]
    if not found and b"<" not in line and len(line.split()) == 1:
        found = [line]
    return [decode_text(b"".join(one.split())) for one in found]


class _Word(NamedTuple):
    """An encoded-word: its charset, `b` or `q`, its encoded text, and where it ends."""

    charset: str
    encoding: str
    text: bytes
    stop: int


def _decode_words(text: str) -> str:
    """Text with its encoded-words decoded. Each search either moves on or ends the loop: linear time."""
    out: list[str] = []
    neighbours: list[_Word] = []  # encoded-words of one charset with nothing but white space between them
    done = decoded = 0
    at = text.find("=?")
    while at >= 0 and decoded < ENCODED_WORDS:
        word = _word_at(text, at)
        if word is None:
            at = text.find("=?", at + 2)
            continue
        adjoining = decoded > 0 and _WORD_GAP.match(text, done, at) is not None
        if neighbours and not (adjoining and word.charset == neighbours[0].charset):
            out.append(_decode_neighbours(neighbours))
            neighbours.clear()
        if not adjoining:
            out.append(text[done:at])
        neighbours.append(word)
        done, decoded = word.stop, decoded + 1
        at = text.find("=?", done)
    if neighbours:
        out.append(_decode_neighbours(neighbours))
    out.append(text[done:])
    return "".join(out)


def _decode_neighbours(words: list[_Word]) -> str:
    """The text of encoded-words of one charset. They may be cut inside a character, or inside a group of base64."""
    octets: list[bytes] = []
    for encoding, run in groupby(words, key=lambda word: word.encoding):
        if encoding == "b":
            octets.append(decode_base64(b"".join(word.text for word in run)))
        else:
            octets.extend(_decode_q(word.text) for word in run)
    return charsets.decode_known(b"".join(octets), words[0].charset)


def _word_at(text: str, at: int) -> _Word | None:
    """The encoded-word that begins at `at`, or None (RFC 2047 §2). Spaces inside are let through: some mailers
    write them."""
    mark = text.find("?", at + 2, at + 2 + CHARSET_NAME + 1)
    if mark < 0 or text[mark + 2 : mark + 3] != "?":
        return None
    encoding = text[mark + 1].lower()
    charset = text[at + 2 : mark].partition("*")[0].lower()  # RFC 2231 §5: charset*language
    end = text.find("?=", mark + 3)
    if end < 0 or encoding not in "bq" or not charsets.known(charset):
        return None
    inner = text[mark + 3 : end].encode("ascii", "replace")
    if b"=?" in inner:
        return None
    return _Word(charset, encoding, inner, end + 2)


def decode_base64(octets: bytes) -> bytes:
    """Base64 as received: octets outside the alphabet are skipped, missing padding is mended, a lone last
    character is dropped, and text behind padding goes on, as after a concatenation (RFC 2045 §6.8)."""
    if b"=" not in octets.rstrip(b"= \t\r\n"):
        try:
            return binascii.a2b_base64(octets)
        except binascii.Error:
            pass
    return b"".join(_decode_run(run) for run in octets.split(b"=", BASE64_RUNS))


def _decode_run(run: bytes) -> bytes:
    letters = run.translate(None, _NOT_BASE64)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def _decode_q(inner: bytes) -> bytes:
    """The Q encoding: `_` is a space (RFC 2047 §4.2)."""
    return binascii.a2b_qp(inner.replace(b"_", b" "), header=False)
