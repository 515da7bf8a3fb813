"""Parameterized header values (RFC 2045 §5.1, RFC 2183 §2, RFC 2231)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.parameters import PARAMETERS, content_type, disposition, text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" text/plain", ("text", "plain", {})),
        (b"TEXT/Html; Charset=UTF-8\r", ("text", "html", {b"charset": b"UTF-8"})),
        (b'a/b; n="x;\\"y"; m=z', ("a", "b", {b"n": b'x;"y', b"m": b"z"})),
        (b"a/b;n=my file.txt ; m=z", ("a", "b", {b"n": b"my file.txt", b"m": b"z"})),
        (b"a/b n=x", ("a", "b", {b"n": b"x"})),
        (b'a/b; n="never closed; m=z', ("a", "b", {b"n": b"never closed", b"m": b"z"})),
        (b"a/b; n=; m", ("a", "b", {b"n": b""})),
        (b"a/b; n=1; n=2", ("a", "b", {b"n": b"1"})),
        (b"a (c) / b (c); n (c) = x", ("a", "b", {b"n": b"x"})),
        (b'a/b; n="(no comment)"; m=(c)z', ("a", "b", {b"n": b"(no comment)", b"m": b"z"})),
        (b"a/b; n*1=y; n*0=x", ("a", "b", {b"n": b"xy"})),
        (b"a/b; n*0*=utf-8''%e2%82; n*1*=%ac; n*2=\"a b\"", ("a", "b", {b"n*": b"utf-8''%e2%82%aca%20b"})),
        (b"a/b; n*0*=%41", ("a", "b", {b"n*": b"''%41"})),
        (b"a/b; n*=utf-8''x; n=y", ("a", "b", {b"n*": b"utf-8''x", b"n": b"y"})),
        (b"a/b; n=y; n*0=x", ("a", "b", {b"n": b"y"})),
        (b"a\xe9/b", ("a?", "b", {})),
        (b"text", None),
        (b"/plain", None),
        (b"text/", None),
        (b"", None),
    ],
)
def test_content_type(value: bytes, expected: tuple[str, str, dict[bytes, bytes]] | None) -> None:
    assert content_type(value) == expected
    padded = value + b" " * 300  # beyond what is cached
    assert content_type(padded) == expected


def test_parameters_are_bounded() -> None:
    found = content_type(b"a/b" + b"".join(b"; n%d=x" % number for number in range(PARAMETERS * 2)))
    assert found is not None
    assert len(found[2]) == PARAMETERS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"attachment; filename=x", ("attachment", {b"filename": b"x"})),
        (b" INLINE", ("inline", {})),
        (b"; filename=x", None),
        (b"", None),
    ],
)
def test_disposition(value: bytes, expected: tuple[str, dict[bytes, bytes]] | None) -> None:
    assert disposition(value) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, None),
        ({b"n": b"x"}, "x"),
        ({b"n": b"=?utf-8?q?=C3=A9?="}, "é"),
        ({b"n": b"\xc3\xa9"}, "é"),
        ({b"n*": b"utf-8''%C3%A9", b"n": b"x"}, "é"),
        ({b"n*": b"iso-8859-1'en'%E9"}, "é"),
        ({b"n*": b"''%C3%A9"}, "é"),
        ({b"n*": b"%C3%A9"}, "é"),
        ({b"n*": b"utf-8'%C3%A9"}, "utf-8'é"),
        ({b"n*": b"no-such''%ZZ"}, "%ZZ"),
    ],
)
def test_text(parameters: dict[bytes, bytes], expected: str | None) -> None:
    assert text(parameters, b"n") == expected


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), st.text('ab ;="\\(),é', max_size=8), max_size=5))
def test_printed_parameters_come_back(wanted: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in wanted.items()}
    printed = "a/b" + "".join(f'; {name}="{value}"' for name, value in quoted.items())
    assert content_type(printed.encode()) == ("a", "b", {k.encode(): v.encode() for k, v in wanted.items()})


@given(st.binary(max_size=80) | st.text("a/b; *=0123\"\\()%'", max_size=80).map(str.encode))
def test_garbage_is_read(value: bytes) -> None:
    for found in (content_type(value), content_type(b"a/b;" + value), disposition(b"x;" + value)):
        for name in found[-1] if found else {}:
            (text(found[-1], name.rstrip(b"*")) or "").encode()  # type: ignore[index]
