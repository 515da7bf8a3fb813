"""The torture set is read, described in valid IMAP text, and shown (limits.md S6, S12, S24)."""

import json
import mmap
import tempfile

import pytest

from mail import torture
from mail.imap_text import check_body, check_envelope, read
from mail.sections import section_octets
from mail.test_corpus import check_spans
from posthouse.mail.mime import FALSE_BOUNDARIES, MIME_DEPTH, PARTS, Part, parse
from posthouse.mail.structure import Section, SectionText, describe, find_part
from posthouse.show import part_octets, show_message
from posthouse.wire.imap.body import without_extension


def check(octets: bytes) -> None:
    described = describe(octets)
    check_envelope(read(described.envelope))
    check_body(read(described.structure), extended=True)
    root = parse(octets)
    check_body(read(without_extension(described.structure)), extended=False)
    check_spans(root)
    for text in SectionText:
        section_octets(octets, Section((), text, (b"Subject", b"From")), root)
        section_octets(octets, Section((1,), text, (b"Subject", b"From")), root)


@pytest.mark.parametrize("octets", [pytest.param(octets, id=name) for name, octets in torture.small()])
def test_small(octets: bytes) -> None:
    check(octets)
    shown = show_message(octets)
    json.dumps(shown, ensure_ascii=False).encode()
    for one in shown["attachments"]:  # type: ignore[attr-defined]
        assert len(part_octets(octets, one["partId"]) or b"") == one["size"]


@pytest.mark.parametrize("name", torture.LARGE)
def test_large(name: str) -> None:
    octets = torture.LARGE[name]()
    check(octets)
    show_message(octets)


@pytest.mark.parametrize("name", ["dashes", "dash-lines", "nested-10000", "parts-100000", "header-junk-lines"])
def test_large_as_mmap(name: str) -> None:
    octets = torture.LARGE[name]()
    with tempfile.TemporaryFile() as file:
        file.write(octets)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert describe(mapped) == describe(octets)


def depth(part: Part) -> int:
    below = [*part.children, *([part.message] if part.message else [])]
    return 1 + max(map(depth, below), default=0)


@pytest.mark.parametrize("octets", [torture.nested(10_000), torture.nested_messages(10_000)])
def test_depth_is_bounded(octets: bytes) -> None:
    root = parse(octets)
    assert depth(root) == MIME_DEPTH + 1
    assert root.cut
    innermost = list(root.walk())[-1]
    assert (innermost.type, innermost.subtype) == ("application", "octet-stream")


def test_the_rest_of_too_many_parts_is_one_opaque_part() -> None:
    octets = torture.LARGE["parts-100000"]()
    root = parse(octets)
    assert len(root.children) == PARTS
    assert root.cut
    last = root.children[-1]
    assert (last.type, last.subtype, last.body.stop) == ("application", "octet-stream", len(octets))
    assert root.children[0].type == "text"


def test_false_boundaries_are_given_up() -> None:
    body = b"--b\r\n\r\none\r\n" + b"--bx\r\n" * (FALSE_BOUNDARIES + 1) + b"--b\r\n\r\nlate\r\n--b--\r\n"
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body
    root = parse(octets)
    [only] = root.children
    assert root.cut
    assert only.body.stop == len(octets)


def test_part_numbers_lead_to_the_innermost() -> None:
    root = parse(torture.nested(20))
    assert not root.cut
    part = find_part(root, (1,) * 20)
    assert part is not None
    assert part.type == "text"
    assert find_part(root, (1,) * 21) is None
