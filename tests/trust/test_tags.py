"""Tag=value lists and key records (RFC 6376 §3.2, §3.6.1, RFC 8463 §4.2)."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.trust import tags as module
from posthouse.trust.tags import KeyFault, KeyRecord, Published, decode, names, published, read_key, read_tags

KEY = b64encode(bytes(range(200)))
OURS = b"v=DKIM1; k=rsa; p=" + KEY


@pytest.mark.parametrize(
    ("octets", "tags"),
    [
        (b"a=b", {"a": b"b"}),
        (b"a=b;", {"a": b"b"}),
        (b" a = b c ; d1_=e=f;g=\r\n\th; x= ; ", {"a": b"b c", "d1_": b"e=f", "g": b"h", "x": b""}),
        (b"a=\r\n b", {"a": b"b"}),
        (b"a=x\n y", {"a": b"x y"}),
        (b"a=\xc3\xa4", {"a": b"\xc3\xa4"}),
        (b"a=1;A=2", {"a": b"1", "A": b"2"}),
        (b"", None),
        (b";", None),
        (b"a=b;;c=d", None),
        (b"a=b;;", None),
        (b"a", None),
        (b"=b", None),
        (b"1a=b", None),
        (b"a-b=c", None),
        (b"a=b; a=b", None),
        (b"a=b\r\nc=d", None),
        (b"a=b\rc", None),
        (b"a=\0", None),
        (b"a=b\r\n", None),
    ],
)
def test_lists(octets: bytes, tags: dict[str, bytes] | None) -> None:
    """RFC 6376 §3.2."""
    assert read_tags(octets) == tags


def test_lists_are_bounded() -> None:
    assert len(read_tags(b";".join(b"t%d=" % n for n in range(module.TAGS))) or {}) == module.TAGS
    assert read_tags(b";".join(b"t%d=" % n for n in range(module.TAGS + 1))) is None
    assert read_tags(b";" * module.LIST_OCTETS) is None
    assert read_tags(b"a=" + b"x" * (module.LIST_OCTETS - 2)) is not None
    assert read_tags(b"a=" + b"x" * (module.LIST_OCTETS - 1)) is None
    assert read_key(OURS + b";n=" + b"x" * module.RECORD_OCTETS) is KeyFault.SYNTAX
    assert len(names(b"a:" * 1_000)) == module.NAMES


@given(st.binary(max_size=300))
def test_garbage_is_no_surprise(octets: bytes) -> None:
    read_tags(octets)
    read_key(octets)
    read_key(b"v=DKIM1;" + octets)
    decode(octets)
    published([octets], OURS)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True),
        st.from_regex(rb"([!-:<-~]+( [!-:<-~]+)*)?", fullmatch=True),
        max_size=20,
    )
)
def test_what_is_printed_is_read(tags: dict[str, bytes]) -> None:
    printed = b";\r\n ".join(name.encode() + b" = " + value for name, value in tags.items())
    assert read_tags(printed) == (tags or None)


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (b"", b""),
        (b"AQAB", b"\1\0\1"),
        (b"AQ AB", b"\1\0\1"),
        (b"AQ==", b"\1"),
        (b"AQ", None),
        (b"A=QB", None),
        (b"AQ-_", None),
        (b"\xff", None),
    ],
)
def test_base64(value: bytes, octets: bytes | None) -> None:
    """RFC 6376 §2.10."""
    assert decode(value) == octets


RSA = KeyRecord("rsa", b"\1\0\1")


@pytest.mark.parametrize(
    ("record", "read"),
    [
        (b"p=AQAB", RSA),
        (b"v=DKIM1; p=AQAB", RSA),
        (b"v=DKIM1;p=AQAB;", RSA),
        (b"k=ed25519; p=AQAB", KeyRecord("ed25519", b"\1\0\1")),
        (b"p=", KeyRecord("rsa", b"")),
        (b"h=sha1:sha256; p=AQAB", KeyRecord("rsa", b"\1\0\1", frozenset({"sha1", "sha256"}))),
        (b"s=email : tlsrpt; p=AQAB", KeyRecord("rsa", b"\1\0\1", None, frozenset({"email", "tlsrpt"}))),
        (b"t=y:s; p=AQAB", KeyRecord("rsa", b"\1\0\1", None, None, True, True)),
        (b"t=x; n=a note=20; unknown=1; p=AQAB", RSA),
        (b"v=DKIM2; p=AQAB", KeyFault.VERSION),
        (b"v=DKIM1.0; p=AQAB", KeyFault.VERSION),
        (b"p=AQAB; v=DKIM1", KeyFault.VERSION),
        (b"v=DKIM1", KeyFault.NO_KEY),
        (b"v=spf1 -all", KeyFault.VERSION),
        (b"any text", KeyFault.SYNTAX),
        (b"p=AQAB; p=AQAB", KeyFault.SYNTAX),
        (b"p=!", KeyFault.KEY),
        (b"k=dsa; p=AQAB", KeyFault.KIND),
    ],
)
def test_key_records(record: bytes, read: KeyRecord | KeyFault) -> None:
    """RFC 6376 §3.6.1, §6.1.2."""
    assert read_key(record) == read


@pytest.mark.parametrize(
    ("services", "email", "tlsrpt"),
    [
        (b"", True, True),
        (b"s=*;", True, True),
        (b"s=email;", True, False),
        (b"s=tlsrpt;", False, True),
        (b"s=x:*;", True, True),
    ],
)
def test_services(services: bytes, email: bool, tlsrpt: bool) -> None:
    """RFC 6376 §3.6.1: `*` matches all service types; RFC 8460 §3 has one more."""
    record = read_key(services + b"p=AQAB")
    assert isinstance(record, KeyRecord)
    assert (record.serves("email"), record.serves("tlsrpt")) == (email, tlsrpt)


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([OURS], Published.GOOD),
        ([b"k=rsa; p=" + KEY[:50] + b" " + KEY[50:] + b"; t=s; s=*; h=sha256"], Published.GOOD),
        ([], Published.MISSING),
        ([OURS, b"v=spf1 -all"], Published.SEVERAL),
        ([b'"' + OURS + b'"'], Published.QUOTED),
        ([b"v=DKIM1\\; k=rsa\\; p=" + KEY], Published.QUOTED),
        ([b"v=DKIM1; k=rsa; p=" + KEY[:80] + b'" "' + KEY[80:]], Published.QUOTED),
        ([OURS[:120]], Published.CUT),
        ([OURS[:121]], Published.CUT),
        ([OURS[:15]], Published.CUT),
        ([b"v=DKIM1; k=rsa; p=AQAB"], Published.OTHER),
        ([b"v=DKIM1; k=ed25519; p=" + KEY], Published.OTHER),
        ([b"v=DKIM1; p="], Published.REVOKED),
        ([b"hello"], Published.UNREADABLE),
        ([b"t=y;p=" + KEY], Published.TESTING),
        ([b"s=email;p=" + KEY], Published.UNFIT),
        ([b"h=sha1;p=" + KEY], Published.UNFIT),
    ],
)
def test_what_the_dns_has(records: list[bytes], what: Published) -> None:
    assert published(records, OURS) is what
