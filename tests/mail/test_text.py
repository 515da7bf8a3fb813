"""mail/text.py: what a search looks at."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.text import bodies, comparable, everything, sent_day, texts, words


def test_comparable():
    """RFC 5051 §2: without regard to case; letters with marks are found by the letters; ß stays ß."""
    assert comparable("ÄÖ") == comparable("a\u0308o\u0308")
    assert comparable("jose") in comparable("José García")
    assert comparable("STRASSE") != comparable("straße")
    assert comparable("a\r\nb") == comparable("A\nB")
    assert "NE" in comparable("ﬁne")


@given(st.binary(max_size=400))
def test_texts_never_raise(octets):
    found = texts(octets, 1000)
    if found.whole:
        assert found.bodies == list(bodies(octets))
        lines = [f"{name}: {value}" for name, value in found.fields]
        assert sorted([*lines, *found.mime, *found.bodies]) == sorted(everything(octets))


def test_what_is_cut_is_not_whole():
    octets = b"Subject: s\r\n\r\n" + b"x" * 100
    assert texts(octets, 100).whole
    assert not texts(octets, 99).whole
    assert texts(octets, 99).fields == [("SUBJECT", "S")]


def test_sent_day():
    assert sent_day(b" Wed, 1 Mar 2023 23:30:00 -0500") == sent_day(b" Wed, 1 Mar 2023 00:30:00 +0500")
    assert sent_day(None) is None
    assert sent_day(b"soon") is None


def test_words():
    assert words("Hello, hello-world ", 9) == ["Hello", "hello", "world"]
    assert words("a b c", 2) == ["a", "b"]
    assert words("会议記錄 x", 9) == ["会议", "议記", "記錄", "x"]
    assert words("IMAP会议", 9) == ["IMAP", "会议"]
    assert words("議", 9) == ["議"]
    assert words("การประชุม", 9) == ["การป", "ารปร", "รประ", "ประช", "ระชุ", "ะชุม"]
    assert words("गणित के", 9) == ["गणित", "के"]
    assert words("x" * 100, 9) == ["x" * 40]
