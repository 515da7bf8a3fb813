"""The real messages, with both kinds of line end, against Python's own reader and against the IMAP grammar."""

import itertools
import json
import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from mail.corpus import corpus
from mail.imap_text import check_body, check_envelope, read
from mail.sections import section_octets
from posthouse.mail import content
from posthouse.mail.header import header_end, split
from posthouse.mail.mime import Part, parse
from posthouse.mail.structure import Section, SectionText, describe
from posthouse.show import part_octets, show_message
from posthouse.wire.imap.body import without_extension

FOLDERS = ("ham-bulk", "ham-lists", "spam")


def both(path: Path) -> Iterator[bytes]:
    octets = path.read_bytes()
    yield octets
    yield octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("folder", FOLDERS)
def test_wire_text_follows_the_grammar(folder: str) -> None:
    for path in corpus(folder):
        for octets in both(path):
            described = describe(octets)
            check_envelope(read(described.envelope))
            check_body(read(described.structure), extended=True)
            check_body(read(without_extension(described.structure)), extended=False)
            assert described.header_size == header_end(octets)


@pytest.mark.parametrize("folder", FOLDERS)
def test_offsets_cover_the_message(folder: str) -> None:
    for path in corpus(folder):
        for octets in both(path):
            root = parse(octets)
            assert root.header.start == 0
            assert root.body.stop == len(octets)
            check_spans(root)
            header = section_octets(octets, Section((), SectionText.HEADER))
            text = section_octets(octets, Section((), SectionText.TEXT))
            assert header is not None
            assert text is not None
            assert header + text == octets
            fields = split(octets)
            assert all(a.stop <= b.start for a, b in itertools.pairwise(fields))


def check_spans(part: Part) -> None:
    assert part.header.start <= part.header.stop == part.body.start <= part.body.stop
    at = part.body.start
    for child in part.children:
        assert at <= child.header.start
        assert child.body.stop <= part.body.stop
        check_spans(child)
        at = child.body.stop
    if part.message is not None:
        assert (part.message.header.start, part.message.body.stop) == part.body
        check_spans(part.message)


# Where Python's reader and ours differ on purpose; each is a broken message.
DIFFERENT = {
    "spam/00467.eml": "a multipart whose boundary never occurs: we show its text as a part",
    "ham-bulk/00021.eml": "no close-delimiter: Python drops the last line end",
    "spam/00038.eml": "no close-delimiter: Python drops the last line end",
    "spam/00260.eml": "base64 with a missing padding: Python does not decode it",
    "spam/00307.eml": "base64 with a missing padding: Python does not decode it",
    "spam/00313.eml": "base64 with a list's footer below: Python does not decode it",
}
# RFC 2045 §6.7 (3): white space at the end of an encoded line must be deleted. Python keeps it.
PADDING = re.compile(rb"[ \t]++(?=\n|\Z)")


def python_tree(message: "Message[str, str]") -> object:
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        return [message.get_content_type(), *(python_tree(part) for part in message.get_payload())]  # type: ignore[arg-type]
    if message.is_multipart():
        [inner] = message.get_payload()
        return [message.get_content_type(), python_tree(inner)]  # type: ignore[arg-type]
    return message.get_content_type()


def our_tree(part: Part) -> object:
    name = f"{part.type}/{part.subtype}"
    if part.children:
        return [name, *map(our_tree, part.children)]
    return name if part.message is None else [name, our_tree(part.message)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_structure_is_the_one_python_sees(folder: str) -> None:
    different = []
    for path in corpus(folder):
        for octets in both(path):
            theirs = python_tree(message_from_bytes(octets))
            ours = our_tree(parse(octets))
            if theirs != ours and f"{folder}/{path.name}" not in DIFFERENT:
                different.append((path.name, theirs, ours))
    assert different == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_decoded_leaves_are_those_python_sees(folder: str) -> None:
    different = []
    for path in corpus(folder):
        octets = path.read_bytes()
        theirs = [
            part.get_payload(decode=True) for part in message_from_bytes(octets).walk() if not part.is_multipart()
        ]
        ours = [content.octets_of(octets, p) for p in parse(octets).walk() if not p.children and p.message is None]
        same = len(theirs) == len(ours) and all(map(same_octets, theirs, ours))
        if not same and f"{folder}/{path.name}" not in DIFFERENT:
            different.append(path.name)
    assert different == []


def same_octets(theirs: bytes, ours: bytes) -> bool:
    return theirs == ours or PADDING.sub(b"", theirs) == PADDING.sub(b"", ours)


@pytest.mark.parametrize("folder", FOLDERS)
def test_is_shown_as_json(folder: str) -> None:
    for path in corpus(folder):
        for octets in both(path):
            shown = show_message(octets)
            json.dumps(shown, ensure_ascii=False).encode()
            for one in shown["attachments"]:  # type: ignore[attr-defined]
                part = part_octets(octets, one["partId"])
                assert part is not None
                assert len(part) == one["size"]


def test_structure_does_not_depend_on_line_ends() -> None:
    for path in corpus()[::10]:
        lf, crlf = both(path)
        assert our_tree(parse(lf)) == our_tree(parse(crlf))
        assert describe(lf).envelope == describe(crlf).envelope
        assert [part.lines for part in parse(lf).walk()] == [part.lines for part in parse(crlf).walk()]
