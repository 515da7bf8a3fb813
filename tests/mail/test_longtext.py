"""mail/longtext.py: a text in pieces is the text, wherever it is cut."""

import base64
import quopri

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posthouse.mail import charset, longtext
from posthouse.mail.longtext import readable_pieces, windows
from posthouse.mail.mime import parse
from posthouse.mail.text import readable

MARKUP = (
    *("<", ">", "<!--", "-->", "--", "<style", "<STYLE>", "</style", "</style >", "<script src=x>", "</script>"),
    *("<br>", "</p>", "<p ", "<b>", "</b", "<img alt='six'>", '<img src=x alt = "si x" y>', "<img alt='", "<title>"),
    *(
        "</title>",
        "<template>",
        "</Template>",
        "<styles>",
        "<!",
        "&amp;",
        "&amp",
        "&#65;",
        "&#x",
        "&#0;",
        "&",
        "&nbsp;",
    ),
    *(
        "&#32;",
        "&notit;",
        ";",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "\f",
        "\0",
        "x",
        "word",
        "ä",
        "€",
        "\ufeff",
        "😀",
        "/",
        "a",
    ),
    *("<td class='x' >", "1", "0", "'", '"', "alt=", "<img "),
)
HTML = st.lists(st.sampled_from(MARKUP), max_size=40).map("".join)
CHARSETS = (
    "utf-8",
    "us-ascii",
    "iso-8859-1",
    "utf-16",
    "utf-7",
    "iso-2022-jp",
    "gb2312",
    "shift_jis",
    "koi8-r",
    "none",
)
SIZES = st.integers(1, 12)


def pieces_of(octets: bytes, size: int) -> str:
    """What comes when so many octets are read at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(longtext, "PIECE", size)
        return "".join(readable_pieces(octets, parse(octets)))


def message(body: bytes, subtype: str, name: str, encoding: str = "8bit") -> bytes:
    head = f"Content-Type: text/{subtype}; charset={name}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


@given(HTML, SIZES)
@example("a<!-- <style> --></style", 1)
@example("<styl", 3)
@example("x<style", 2)
@example("<img <br> alt='x'>", 5)
@example("<<img alt='b'>x>", 4)
@example("<script>a</scr</script x>b", 2)
@example("a &#1234", 3)
@example(" \n  a \n \n b  ", 1)
def test_html(source: str, size: int) -> None:
    octets = message(source.encode(), "html", "utf-8")
    assert pieces_of(octets, size) == readable(octets, parse(octets))


@given(st.sampled_from(CHARSETS), st.sampled_from(["plain", "html"]), HTML | st.binary(max_size=60), SIZES)
def test_charsets(name: str, subtype: str, source: str | bytes, size: int) -> None:
    known = charset.codec(name) or "utf-8"
    octets = message(source if isinstance(source, bytes) else source.encode(known, "replace"), subtype, name)
    assert pieces_of(octets, size) == readable(octets, parse(octets))


@given(HTML, st.sampled_from(["base64", "quoted-printable", "x-unknown"]), SIZES)
def test_transfer_encodings(source: str, encoding: str, size: int) -> None:
    made = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(encoding, bytes)
    octets = message(made(source.encode()), "html", "utf-8", encoding)
    assert pieces_of(octets, size) == readable(octets, parse(octets))


def test_every_charset_can_be_read_in_pieces() -> None:
    for name in sorted(set(charset._CODECS)):
        octets = message(b"abc\r\ndef", "plain", name)
        assert pieces_of(octets, 2) == readable(octets, parse(octets)), name


def test_what_html_says_of_its_charset_is_read() -> None:
    octets = b"Content-Type: text/html\r\n\r\n<meta charset=koi8-r><p>\xf0\xd2\xc9\xd7\xc5\xd4"
    assert pieces_of(octets, 7) == readable(octets, parse(octets)) == "Привет"


@given(st.text("ab", max_size=40), st.text("ab", min_size=1, max_size=6), SIZES)
def test_what_stands_in_the_text_stands_in_a_window(text: str, needle: str, size: int) -> None:
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    assert any(needle in window for window in windows(pieces, len(needle) - 1)) == (needle in text)
