"""Previews: the words a person would read first (RFC 8970 §3), and bounds on what making them costs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.mime import parse
from posthouse.mail.preview import LENGTH, SOURCE, own_words, preview


def of(head: str, body: str) -> str:
    octets = f"{head}\r\n\r\n{body}".replace("\n", "\r\n").replace("\r\r", "\r").encode()
    return preview(octets, parse(octets))


ALTERNATIVE = "Content-Type: multipart/alternative; boundary=b"
PARTS = "--b\nContent-Type: text/plain\n\n{}\n--b\nContent-Type: text/html\n\n{}\n--b--\n"


@pytest.mark.parametrize(
    ("head", "body", "shown"),
    [
        ("Subject: x", "Hello\n  Anna,\n\n\thow are you?\n-- \nBen", "Hello Anna, how are you?"),
        ("Subject: x", "> quoted\n> words\n\nMine.", "Mine."),
        ("Subject: x", "> only\n>> quoted", "only quoted"),
        ("Subject: x", "", ""),
        ("Subject: x", "a\x00b\x1b[31mc\u200b\u00add \u034f\u200c e", "ab [31mcd e"),
        ("Subject: x", "---------\nTitle\n=========\nwords", "Title words"),
        (ALTERNATIVE, PARTS.format("plain", "<p>html"), "plain"),
        (ALTERNATIVE, PARTS.format(" ", "<p>html &amp; more</p>"), "html & more"),
        ("Content-Type: multipart/encrypted; boundary=b", PARTS.format("secret", "x"), ""),
        ("Content-Type: application/pkcs7-mime", "secret", ""),
        ("Content-Type: image/png", "octets", ""),
        ("Content-Type: text/plain\nContent-Disposition: attachment; filename=a.txt", "attached", ""),
        ("Content-Type: text/calendar", "BEGIN:VCALENDAR", ""),
        ("Content-Type: message/rfc822", "Subject: y\n\ninside", ""),
        ("Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64", "PHA+R3LDvMOfZTwvcD4=", "Grüße"),
    ],
)
def test_what_is_shown(head: str, body: str, shown: str) -> None:
    assert of(head, body) == shown


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("<html><head><title>t</title><style>p {}</style></head><p>one</p><p>two<br>three", "one two three"),
        ("<!-- <p>no</p> -->yes<script>if (a < b) no()</script >!", "yes!"),
        ("a<b>b</b>c &lt;d&gt; 1 < 2", "abc <d> 1 < 2"),
        ("<style>never closed", ""),
        ("<header>shown</header>", "shown"),
        ("words<a href='cut off", "words"),
        ("<html><head><meta a=b><body>the head was never closed", "the head was never closed"),
    ],
)  # fmt: skip
def test_html(source: str, shown: str) -> None:
    assert of("Content-Type: text/html", source) == shown


def test_it_is_never_longer() -> None:
    assert len(of("Subject: x", "\U0001f600 ä" * 500)) <= LENGTH
    assert of("Subject: x", "word " * 500) == ("word " * 40).rstrip()


@given(st.text(max_size=300))
def test_any_text(source: str) -> None:
    for words in (own_words(source), of("Subject: x", source.replace("\r", ""))):
        words.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "piece", ["<", "<a ", "<!--", "<style>", "</style", "&amp", "<p>", "\u200b", ">\n", "-", "<head <"]
)
def test_hostile_text_takes_no_longer(piece: str) -> None:
    """Linear, and no more than SOURCE octets of it are looked at."""
    body = piece * (2 * SOURCE // len(piece))
    begun = time.process_time()
    of("Content-Type: text/html", body)
    of("Content-Type: text/plain", body)
    assert time.process_time() - begun < 20
