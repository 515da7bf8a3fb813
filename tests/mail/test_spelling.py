"""mail/spelling.py: reasons for people who mistype (RFC 5321 §4.1.2, RFC 5890 §4.4, RFC 8265 §3.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Domain, parse_address, parse_domain
from posthouse.mail.spelling import (
    beware_of_domain,
    doubt,
    doubt_of_domain,
    doubt_of_new_domain,
    readable,
    skeleton,
    unicode_of,
    why_no_address,
    why_no_domain,
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("anna", "the @ and the domain are missing"),
        ("anna at home.test", "the @ is spelled out"),
        ("anna＠home.test", "the @ is a wide one"),
        ("@home.test", "the part before the @ is missing"),
        ("anna@", "the domain behind the @ is missing"),
        ("anna@@home.test", "there are two @ in it"),
        ("anna@work@home.test", "there are two @ in it"),
        (" anna@home.test", "there are blanks before or after it"),
        ("<anna@home.test>", "write it without the brackets: anna@home.test"),
        ("Anna Müller <am@home.test>", "only the address is wanted, without a name: am@home.test"),
        ('"Müller, A." <am@home.test>', "only the address is wanted, without a name: am@home.test"),
        ("Anna <am@home.test", "has a blank in it"),
        ("an na@home.test", "'an na' has a blank in it"),
        (".anna@home.test", "a dot at an end or two in a row"),
        ("anna.@home.test", "a dot at an end or two in a row"),
        ("a..b@home.test", "a dot at an end or two in a row"),
        ("a,b@home.test", "a character that must not stand there: ','"),
        ("a\0b@home.test", "a character that must not stand there: '\\x00'"),
        ('"a@home.test', "the quotes are not closed"),
        ("x" * 65 + "@home.test", "more than 64 octets"),
        ("ä" * 33 + "@home.test", "more than 64 octets"),
        ("x" * 64 + "@" + ".".join(["x" * 63] * 3), "longer than 254 octets"),
        ("anna@home,test", "there is a comma in it"),
        ("anna@home test", "a domain has no blanks"),
        ("anna@home..test", "a label between two dots is empty"),
        ("anna@https://home.test", "it is the address of a page"),
    ],
)
def test_why_it_is_no_address(text: str, reason: str) -> None:
    assert parse_address(text) is None
    assert reason in why_no_address(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("аnna@home.test", "mixes Cyrillic and Latin letters: 'а' is CYRILLIC SMALL LETTER A; did you mean anna?"),
        ("anna@hοme.test", "mixes Greek and Latin letters: 'ο' is GREEK SMALL LETTER OMICRON; did you mean home?"),
        ("anna@xn--hme-9yc.test", "mixes"),
        ("ａnna@home.test", "'ａ' is another form of 'a'"),
        ("anna/work@home.test", "'/' in a name means something else"),
        ("anna%work@home.test", "'%' in a name means something else"),
        ('"an na"@home.test', "must be written in quotes"),
        ("an\u200bna@home.test", "U+200B (ZERO WIDTH SPACE) cannot be seen or typed"),
        ("*@home.test", "stands for everybody"),
        ("SRS0=abc=de=far.test=eve@home.test", "names that begin with SRS0= are for mail that is sent on"),
        ("srs1=x@home.test", "names that begin with srs1= are for mail that is sent on"),
    ],
)
def test_what_nobody_should_be_called(text: str, reason: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert reason in str(doubt(address))


@pytest.mark.parametrize(
    "text",
    [
        "anna@home.test",
        "müller@bücher.test",
        "анна@почта.test",
        "東京カフェa@例え.test",
        "o'neil+x@home.test",
        "srs0@home.test",
        "srs2=x@home.test",
    ],
)
def test_names_of_one_script_are_names(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert doubt(address) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("localhost", "localhost is every machine itself"),
        ("mail.localhost", "localhost is every machine itself"),
        ("x.invalid", "invalid is no domain"),
        ("exam_ple.org", "a mail domain has no _ in it"),
        ("com", "it is a top-level domain"),
        ("de", "it is a top-level domain"),
    ],
)
def test_what_no_domain_of_ours_is_called(name: str, reason: str) -> None:
    """RFC 6761 §6.3, §6.4; RFC 5321 §4.1.2."""
    assert reason in (doubt_of_new_domain(Domain(name)) or "")


def test_domains_that_are_taken_with_a_word() -> None:
    for name in ("lan", "mail"):
        assert doubt_of_new_domain(Domain(name)) is None
        assert "known in your own network only" in (beware_of_domain(Domain(name)) or "")
    assert "below it others probably have domains" in (beware_of_domain(Domain("co.uk")) or "")
    for name in ("home.test", "example.co.uk", "a.de", "ab.com", "mail.lan"):
        assert doubt_of_new_domain(Domain(name)) is beware_of_domain(Domain(name)) is None


def test_what_would_turn_its_line_stays_as_it_is() -> None:
    turned = "a\u202eb".encode("punycode").decode("ascii")
    for label in (f"xn--{turned}", "xn--0000h", "xn--\u0301"):
        assert readable(f"{label}.test") == f"{label}.test"


def test_domains_of_one_name() -> None:
    """RFC 5890 §2.3.2.1, RFC 5894 §7.2: sharp s and final sigma are letters of their own."""
    assert parse_domain("Bücher.test") == parse_domain("XN--BCHER-KVA.test") == Domain("xn--bcher-kva.test")
    assert parse_domain("straße.test") == parse_domain("STRAẞE。test") == Domain("xn--strae-oqa.test")
    assert parse_domain("βόλος.test") != parse_domain("βόλοσ.test")
    assert unicode_of(parse_domain("βόλος.test") or Domain("")) == "βόλος.test"
    assert parse_domain("ß" * 60 + ".test") is None
    assert unicode_of(Domain("xn--strae-oqa.test")) == "straße.test"
    assert unicode_of(Domain("xn--\u2603.test")) == "xn--\u2603.test"
    assert doubt_of_domain(Domain("xn--strae-oqa.test")) is None
    assert skeleton("hоmе.test") == "home.test"


@given(st.text(max_size=80))
def test_there_is_a_reason_for_everything(text: str) -> None:
    address = parse_address(text)
    if address is None:
        assert why_no_address(text)
    else:
        doubt(address)
    if parse_domain(text) is None:
        assert why_no_domain(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("x@xn--bcher-kva.test", "x@bücher.test"),
        ("xn--bcher-kva.test", "bücher.test"),
        ("anna@home.test", "anna@home.test"),
        ("xn--bcher-kva@home.test", "xn--bcher-kva@home.test"),
        ("", ""),
        ("x@xn--zzzzzz-.test", "x@xn--zzzzzz-.test"),
        ("x@xn--home-x5t.test", "x@xn--home-x5t.test"),  # an A-label of marks that change the direction
        ("x@xn--pple-43d.test", "x@xn--pple-43d.test"),  # a Cyrillic letter among Latin ones
        ("x@[192.0.2.1]", "x@[192.0.2.1]"),
    ],
)
def test_addresses_as_people_read_them(text: str, read: str) -> None:
    """RFC 5890 §2.3.2.1; what could be taken for something else stays as servers write it."""
    assert readable(text) == read
