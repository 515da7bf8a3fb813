"""Header address lists (RFC 5322 §3.4, §4.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address_list import (
    ADDRESSES,
    COMMENT_DEPTH,
    AddressGroup,
    NamedAddress,
    mailboxes,
    parse_address_list,
)


def one(local: bytes, domain: bytes, name: bytes | None = None, route: bytes | None = None) -> NamedAddress:
    return NamedAddress(name, route, local, domain)


AB = one(b"a", b"b")
CD = one(b"c", b"d")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # the usual forms
        (b" a@b\r\n", [AB]),
        (b"a@b,\r\n c@d", [AB, CD]),
        (b"Name <a@b>", [one(b"a", b"b", b"Name")]),
        (b"John Q. Public <a@b>", [one(b"a", b"b", b"John Q. Public")]),
        (b'"Last, First" <a@b>, <c@d>', [one(b"a", b"b", b"Last, First"), CD]),
        (b"=?utf-8?q?x?= <a@b>", [one(b"a", b"b", b"=?utf-8?q?x?=")]),
        # the full grammar
        (b'"a \\"q\\" \\\\" <a@b>', [one(b"a", b"b", b'a "q" \\')]),
        (b'"a b"@c', [one(b"a b", b"c")]),
        (b"a . b @ c . d", [one(b"a.b", b"c.d")]),
        (b"a@[192.0.2.1]", [one(b"a", b"[192.0.2.1]")]),
        (b"a@b (A (nested\\)) B)", [one(b"a", b"b", b"A (nested)) B")]),
        (b"(before) Name (between) <a@b> (after)", [one(b"a", b"b", b"Name")]),
        (b"(only) <a@b>", [one(b"a", b"b", b"only")]),
        (b"() a@b", [AB]),
        (b"<@r,@s:a@b>", [one(b"a", b"b", None, b"@r,@s")]),
        (b"N <@r:a@b>, c@d", [one(b"a", b"b", b"N", b"@r"), CD]),
        (b"G: a@b, N <c@d>;", [AddressGroup(b"G", (AB, one(b"c", b"d", b"N")))]),
        (b'"G H":;, a@b', [AddressGroup(b"G H", ()), AB]),
        (b"G: (x) , ;a@b", [AddressGroup(b"G", ()), AB]),
        # what is broken
        (b"", []),
        (b" , ,, a@b ,", [AB]),
        (b"a@b;c@d", [AB, CD]),
        (b"root", [one(b"root", b"")]),
        (b"Two Words", [one(b"", b"", b"Two Words")]),
        (b"Two Words, a@b", [one(b"", b"", b"Two Words"), AB]),
        (b"Name <root>", [one(b"root", b"", b"Name")]),
        (b"Name <>", [one(b"", b"", b"Name")]),
        (b"<>", []),
        (b"Name <a@b", [one(b"a", b"b", b"Name")]),
        (b"<a@b, <c@d>", [AB, CD]),
        (b"<a@b <c@d>", [AB, CD]),
        (b"<a@b> Name <c@d>", [AB, one(b"c", b"d", b"Name")]),
        (b"Name a@b", [one(b"a", b"b", b"Name")]),
        (b"Name Other a.x@b . c More", [one(b"a.x", b"b.c", b"Name Other More")]),
        (b"a@b@c", [one(b"a@b", b"c")]),
        (b"@b", [one(b"", b"b")]),
        (b"a@", [one(b"a", b"")]),
        (b"<@r a@b>", [one(b"@ra", b"b")]),
        (b"<@r,a@b>", [one(b"@r,a", b"b")]),
        (b'"never closed <a@b>', [one(b"never closed <a@b>", b"")]),
        (b"a@[192.0.2.1", [one(b"a", b"[192.0.2.1")]),
        (b"G: a@b", [AddressGroup(b"G", (AB,))]),
        (b"G: H: a@b;", [AddressGroup(b"G", ()), AddressGroup(b"H", (AB,))]),
        (b": a@b;", [AddressGroup(b"", (AB,))]),
        (b"<a:b@c>", [one(b"a:b", b"c")]),
        (b"a\\b@c", [one(b"a\\b", b"c")]),
        (b"J\xf6rg <a@b>", [one(b"a", b"b", b"J\xf6rg")]),
    ],
)
def test_parse(value: bytes, expected: list[NamedAddress | AddressGroup]) -> None:
    assert parse_address_list(value) == expected


def test_comments_are_bounded() -> None:
    assert parse_address_list(b"(" * (COMMENT_DEPTH + 1) + b"a@b") == [one(b"a", b"b", b"(" * (COMMENT_DEPTH - 1))]
    assert parse_address_list(b"(" * 100 + b"x") == []
    assert parse_address_list(b"a@b (never closed \\(") == [one(b"a", b"b", b"never closed (")]


@pytest.mark.parametrize("separator", [b",", b"\t,(x)", b";"])
def test_addresses_are_bounded(separator: bytes) -> None:
    assert len(parse_address_list((b"a@b" + separator) * (ADDRESSES + 5))) == ADDRESSES


def test_group_members_are_bounded() -> None:
    assert len(mailboxes(b"G:" + b"a@b," * (ADDRESSES + 5))) == ADDRESSES


def test_long_addresses_are_bounded() -> None:
    assert len(parse_address_list(b"x " * 50_000 + b"<" + b"y " * 50_000)) == 1


def test_groups_are_dissolved() -> None:
    assert mailboxes(b"a@b, G: c@d;") == [AB, CD]


@pytest.mark.parametrize(
    ("address", "spec", "text"),
    [
        (AB, "a@b", None),
        (one(b"a b", b"c", b"=?utf-8?q?=C3=A9?="), '"a b"@c', "é"),
        (one(b'"\\', b"c", b" "), '"\\"\\\\"@c', None),
        (one(b"root", b""), "root", None),
        (one(b"two words", b""), "two words", None),
        (one(b"", b""), "", None),
        (one(b"", b"c"), '""@c', None),
        (one(b"caf\xc3\xa9", b"c"), "café@c", None),
        (one(b".a", b"c"), '".a"@c', None),
    ],
)
def test_as_text(address: NamedAddress, spec: str, text: str | None) -> None:
    assert address.addr_spec == spec
    assert address.text == text


ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~é", min_size=1, max_size=8)
DOTTED = st.lists(ATOM, min_size=1, max_size=3).map(".".join)
LOCAL = DOTTED | st.text('ab ."\\(),:;<>@[]', min_size=1, max_size=8).filter(lambda text: text == text.strip())
NAME = st.none() | st.text('ab "\\(),:;<>@[]é', min_size=1, max_size=12).filter(lambda text: text == text.strip())


@given(st.lists(st.tuples(NAME, LOCAL, DOTTED), max_size=6), st.sampled_from([", ", ",", " ,\r\n\t"]))
def test_printed_addresses_come_back(addresses: list[tuple[str | None, str, str]], separator: str) -> None:
    wanted = [
        one(local.encode(), domain.encode(), name.encode() if name else None) for name, local, domain in addresses
    ]
    printed = [show(address) for address in wanted]
    assert parse_address_list(separator.join(printed).encode()) == wanted


def show(address: NamedAddress) -> str:
    if address.name is None:
        return address.addr_spec
    name = address.name.decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{address.addr_spec}>'


@given(st.binary(max_size=100) | st.text('ab \t"\\(),:;<>@[].=?', max_size=100).map(str.encode))
def test_garbage_is_read(value: bytes) -> None:
    for address in mailboxes(value):
        address.addr_spec.encode()
        (address.text or "").encode()
