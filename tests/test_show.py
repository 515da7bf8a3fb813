"""How a message is shown: the words of RFC 8621's Email object."""

import json

import pytest

from posthouse.show import part_octets, show_message

HEAD = b"MIME-Version: 1.0\r\nContent-Type: "


def multipart(subtype: bytes, *parts: bytes, boundary: bytes = b"b") -> bytes:
    """A part (or, behind a header, a message) of several parts, each a Content-Type value and a body."""
    body = b"".join(b"\r\n--" + boundary + b"\r\nContent-Type: " + part for part in parts)
    return b"multipart/" + subtype + b"; boundary=" + boundary + b"\r\n" + body + b"\r\n--" + boundary + b"--\r\n"


PLAIN = b"text/plain\r\n\r\nplain"
HTML = b"text/html\r\n\r\n<p>html"
GIF = b"image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lG"
NAMED = b"text/plain; name=notes.txt\r\n\r\nnotes"
PDF = b"application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''caf%C3%A9.pdf\r\n\r\npdf"

DEEP = multipart(b"alternative", HTML, boundary=b"d")  # below plain text only the list for text is left


def test_header() -> None:
    shown = show_message(
        b'From: =?utf-8?q?Ren=C3=A9?= <rene@home.test>, "Ben B." <ben@work.test>\r\n'
        b"To: Friends: a@home.test, =?utf-8?q?b?= <b@home.test>;\r\nCc:\r\nSender: S <s@home.test>\r\n"
        b"Bcc: x@home.test (Mr X)\r\nReply-To: r@home.test\r\nSubject: first\r\nSubject: =?utf-8?q?last_e=CC=81?=\r\n"
        b"Date: Tue, 10 Jul 2018 11:03:11 +1000\r\nMessage-ID: <m@home.test>\r\nIn-Reply-To: nothing here\r\n"
        b"References: <a@x> <b@x>\r\n\r\nbody\r\n"
    )
    assert shown["from"] == [{"name": "René", "email": "rene@home.test"}, {"name": "Ben B.", "email": "ben@work.test"}]
    assert shown["to"] == [{"name": None, "email": "a@home.test"}, {"name": "b", "email": "b@home.test"}]
    assert shown["cc"] == []
    assert shown["sender"] == [{"name": "S", "email": "s@home.test"}]
    assert shown["bcc"] == [{"name": "Mr X", "email": "x@home.test"}]
    assert shown["replyTo"] == [{"name": None, "email": "r@home.test"}]
    assert shown["subject"] == "last é"  # the last one, in Normalization Form C
    assert shown["sentAt"] == "2018-07-10T11:03:11+10:00"
    assert shown["messageId"] == ["m@home.test"]
    assert shown["inReplyTo"] is None
    assert shown["references"] == ["a@x", "b@x"]


def test_empty_message() -> None:
    shown = show_message(b"")
    names = (
        "from",
        "to",
        "cc",
        "bcc",
        "sender",
        "replyTo",
        "subject",
        "sentAt",
        "messageId",
        "inReplyTo",
        "references",
    )
    assert all(shown[name] is None for name in names)
    assert shown["bodyValues"] == {"1": {"value": "", "isEncodingProblem": False, "isTruncated": False}}


@pytest.mark.parametrize(
    "octets", [b"Hello Ben, see you at 5.\r\n", b"Hello Ben,\r\nPS: bring wine\r\n", b" Hi:\r\n\r\nyou\r\n"]
)
def test_text_without_a_header_is_all_body(octets: bytes) -> None:
    text = octets.decode().replace("\r\n", "\n")
    assert show_message(octets)["bodyValues"] == {
        "1": {"value": text, "isEncodingProblem": False, "isTruncated": False}
    }


def test_body_structure() -> None:
    extra = b"\r\nContent-ID: <i@home.test>"
    extra += b"\r\nContent-Language: en, de\r\nContent-Location: http://x.test/\r\n a\r\n\r\nR0lG"
    gif = b'image/gif; name="=?utf-8?q?=C3=A9?=.gif"\r\nContent-Transfer-Encoding: base64' + extra
    octets = HEAD + multipart(b"mixed", multipart(b"alternative", PLAIN, HTML, boundary=b"c"), gif, PDF)
    shown = show_message(octets)
    root = shown["bodyStructure"]
    assert isinstance(root, dict)
    assert (root["partId"], root["type"], len(root["subParts"])) == (None, "multipart/mixed", 3)
    alternative, image, pdf = root["subParts"]
    assert [part["partId"] for part in alternative["subParts"]] == ["1.1", "1.2"]
    assert image == {
        "partId": "2",
        "size": 3,
        "name": "é.gif",
        "type": "image/gif",
        "charset": None,
        "disposition": None,
        "cid": "i@home.test",
        "language": ["en", "de"],
        "location": "http://x.test/a",
        "subParts": None,
    }
    assert (pdf["name"], pdf["disposition"], pdf["size"]) == ("café.pdf", "attachment", 3)
    assert shown["bodyValues"] == {
        "1.1": {"value": "plain", "isEncodingProblem": False, "isTruncated": False},
        "1.2": {"value": "<p>html", "isEncodingProblem": False, "isTruncated": False},
    }
    assert shown["hasAttachment"] is True
    assert json.loads(json.dumps(shown)) == shown


@pytest.mark.parametrize(
    ("content", "lists"),
    [
        (PLAIN, ("1", "1", "")),
        (HTML, ("1", "1", "")),
        (GIF, ("1", "1", "")),
        (PDF, ("", "", "1")),
        (multipart(b"alternative", PLAIN, HTML), ("1", "2", "")),
        (multipart(b"alternative", HTML), ("1", "1", "")),
        (multipart(b"alternative", PLAIN), ("1", "1", "")),
        (multipart(b"alternative", PLAIN, GIF), ("1", "1", "2")),
        (multipart(b"mixed", PLAIN, GIF, NAMED), ("1 2", "1 2", "3")),
        (multipart(b"mixed", NAMED, GIF), ("1 2", "1 2", "")),
        (multipart(b"related", HTML, GIF), ("1", "1", "2")),
        (multipart(b"mixed", multipart(b"alternative", PLAIN, HTML, boundary=b"c"), PDF), ("1.1", "1.2", "2")),
        # HTML with its pictures as one alternative: they belong to the HTML only
        (multipart(b"alternative", PLAIN, multipart(b"mixed", HTML, GIF, boundary=b"c")), ("1", "2.1 2.2", "2.2")),
        (multipart(b"alternative", multipart(b"mixed", PLAIN, GIF, boundary=b"c"), HTML), ("1.1 1.2", "2", "1.2")),
        (  # an alternative where only the list for text is left
            multipart(
                b"alternative",
                multipart(b"mixed", PLAIN, multipart(b"alternative", HTML, boundary=b"d"), boundary=b"c"),
            ),
            ("1.1", "1.1", ""),
        ),
        (multipart(b"mixed", b"message/rfc822\r\n\r\nSubject: in\r\n\r\nx"), ("", "", "1")),
    ],
)
def test_lists(content: bytes, lists: tuple[str, str, str]) -> None:
    shown = show_message(HEAD + content)
    found = [[part["partId"] for part in shown[name]] for name in ("textBody", "htmlBody", "attachments")]  # type: ignore[attr-defined]
    assert tuple(map(" ".join, found)) == lists


def test_inline_attachments_do_not_count() -> None:
    inline = b"application/pdf\r\nContent-Disposition: inline\r\n\r\nx"
    assert show_message(HEAD + multipart(b"mixed", PLAIN, inline))["hasAttachment"] is False


def test_part_octets() -> None:
    octets = HEAD + multipart(b"mixed", GIF, b"message/rfc822\r\n\r\nSubject: in\r\n\r\ninner")
    assert part_octets(octets, "1") == b"GIF"
    assert part_octets(octets, "2") == b"Subject: in\r\n\r\ninner"
    assert part_octets(octets, "2.1") == b"inner"
    assert part_octets(memoryview(octets), "1") == b"GIF"


@pytest.mark.parametrize("part_id", ["", "0", "3", "1.1", "x", "1.", "-1", "²", "1" * 500, "9" * 20])
def test_no_such_part(part_id: str) -> None:
    assert part_octets(HEAD + multipart(b"mixed", GIF), part_id) is None
