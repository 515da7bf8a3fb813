"""The torture set: messages no mailer should send, made by rule, each with a name. All of them must be read.

`small()` are cheap and many; `large()` are big and aimed at whatever grows faster than the message.
"""

import random
from collections.abc import Callable, Iterator
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

MIB = 1 << 20

HEAD = (
    b"From: Anna <anna@home.test>\r\nTo: ben@work.test\r\nSubject: torture\r\nDate: Wed, 17 Jul 1996 02:44:25 -0700\r\n"
)


def small() -> Iterator[tuple[str, bytes]]:
    """Name and message, each at most about a hundred kilobytes."""
    yield from _headers()
    yield from _encoded_words()
    yield from _parameters()
    yield from _multiparts()
    yield from _encodings()
    yield from _mutilated()


def _headers() -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "one-newline", b"\n"
    yield "one-crlf", b"\r\n"
    yield "one-cr", b"\r"
    yield "one-nul", b"\0"
    yield "only-body", b"\r\nbody\r\n"
    yield "only-text", b"no header here, just text\r\nand more\r\n"
    yield "no-blank-line", HEAD
    yield "no-line-end", HEAD + b"X: y"
    yield "colon-only", b":\r\n: value\r\n\r\nx"
    yield "no-colon", HEAD + b"this line has none\r\nX-After: it\r\n\r\nbody\r\n"
    yield "space-before-colon", b"From : a@b.test\r\nSubject\t: x\r\n\r\nbody"
    yield "starts-folded", b" folded first\r\nSubject: x\r\n\r\nbody"
    yield "blank-fold", b"Subject: a\r\n \r\n\t\r\n b\r\nTo: x@y.test\r\n\r\nbody"
    yield "nul-in-header", b"Subject: a\0b\r\nFrom: \0a\0@b.test\r\n\r\nb\0dy"
    yield "eight-bit-header", b"Subject: caf\xc3\xa9 \xff\xfe\r\nFrom: J\xf6rg <j@b.test>\r\n\r\nx"
    yield "controls", b"Subject: " + bytes(range(1, 10)) + bytes(range(14, 32)) + b"\x7f\r\n\r\nx"
    yield "bare-cr", b"Subject: a\rb\rc\r\nTo: a@b.test\r\rX: y\r\n\r\nbody\rbody"
    yield "mixed-line-ends", b"Subject: a\nTo: b@c.test\r\n\nbody\r\nmore\n"
    yield "lf-then-crlf-blank", b"Subject: a\n\r\nbody\n"
    yield "duplicate-fields", (HEAD * 3) + b"From: other@home.test\r\nSubject: second\r\n\r\nbody"
    yield "duplicate-types", b"Content-Type: text/html\r\nContent-Type: image/gif\r\n\r\n<p>"
    yield "many-fields", b"X: y\r\n" * 5_000 + b"Subject: late\r\n\r\nbody"
    yield "quotes", b'Subject: "a\\b" \\"\r\nFrom: "a \\"b\\" \\\\ c" <"d e"@f.test>\r\n\r\nx'
    yield "long-line", b"Subject: " + b"x" * 100_000 + b"\r\n\r\nbody"
    yield "many-folds", b"Subject: x" + b"\r\n y" * 20_000 + b"\r\n\r\nbody"
    for index, value in enumerate(ADDRESS_FIELDS):
        yield f"addresses-{index}", b"From: " + value + b"\r\nTo: " + value + b"\r\nSender: \r\nReply-To: ,\r\n\r\nx"
    for index, value in enumerate(DATES):
        yield f"date-{index}", b"Date: " + value + b"\r\n\r\nx"


ADDRESS_FIELDS = (
    b"",
    b",,,;;;:::",
    b"<>",
    b"<<<>>>",
    b"@",
    b"a@",
    b"@b",
    b"a@b@c",
    b"a b c",
    b'"',
    b'"a',
    b'"a\\',
    b"(",
    b"(((a)",
    b")))",
    b"(" * 500,
    b"a@b (c",
    b"[",
    b"a@[1.2.3",
    b"a@[IPv6:::1]",
    b"<@a,@b,@c:d@e.test>",
    b"<@a,@b",
    b"g:",
    b"g:;",
    b"g:a@b;,h:;",
    b"g:h:i:a@b;;;",
    b"a <b <c <d@e.test>",
    b"a@b.test c@d.test, e@f.test",
    b"=?utf-8?q?caf=C3?= =?utf-8?q?=A9?= <a@b.test>",
    b"Undisclosed recipients:;",
    b'"=?utf-8?b?w6k=?=" <a@b.test>',
    b"a\\b@c.test",
    b"a@b.test," * 3_000,
    b"x y <a@b.test> " * 3_000,
    b"<@" + b"," * 10_000,
    b"\xff\xfe <\xff@\xfe>",
)

ADDRESS_NAMES = (b"From", b"Sender", b"Reply-To", b"To", b"Cc", b"Bcc")
ENCLOSED = b"--b\r\nContent-Type: message/rfc822\r\n"

DATES = (
    b"",
    b"now",
    b"Wed, 17 Jul 1996 02:44:25 -0700",
    b"17 Jul 96 02:44 EDT",
    b"Wed, 17 Jul 102 02:44:25 +0200 (CEST)",
    b"Thu, 31 Feb 2002 10:00:00 +0000",
    b"Wed, 17 Jul 1996 25:61:61 +9999",
    b"99 XXX 9999 99:99:99 +0000",
    b"Wed Jul 17 02:44:25 1996",
    b"31 Dec 9999 23:59:60 -1200",
    b"1 Jan 0000 00:00:00 +1200",
    b"(((((comment)))) 17 Jul 1996",
)


def _encoded_words() -> Iterator[tuple[str, bytes]]:
    words = (
        b"=?utf-8?q?caf=C3?= =?utf-8?q?=A9?=",
        b"=?utf-8?b?w6?= =?utf-8?b?k=?=",
        b"=?utf-8?Q?folded\r\n inside?=",
        b"=?iso-2022-jp?B?GyRCJCIbKEI=?=",
        b"=?iso-2022-jp?B?GyRCJCI?=",
        b"=?no-such-charset?q?x?=",
        b"=?zip?b?eJw=?= =?unicode_escape?q?=5Cx41?= =?idna?q?xn--?=",
        b"=?utf-7?q?+2D0-?=",
        b"=?utf-16?b?/v8A?=",
        b"=?utf-8*en?q?tagged?=",
        b"=?utf-8?x?what?=",
        b"=?utf-8?q?never ends",
        b"=?utf-8?q?a=ZZ=4?=",
        b"=?utf-8?q?=00=01=0A?=",
        b"=?utf-8?q??==?utf-8?b??=",
        b"=?" * 5_000,
        b"=?a?q?" * 5_000,
        b"=?utf-8?q?x?= " * 1_000,
        b"=?utf-8?q?" + b"x" * 10_000 + b"?=",
    )
    for index, word in enumerate(words):
        yield f"encoded-word-{index}", b"Subject: " + word + b"\r\nFrom: " + word + b" <a@b.test>\r\n\r\nbody"


def _parameters() -> Iterator[tuple[str, bytes]]:
    types = (
        b"",
        b"text",
        b"/",
        b"text/",
        b"text/plain;",
        b"text/plain; charset",
        b"text/plain; charset=",
        b'text/plain; charset="',
        b'text/plain; charset="utf-8',
        b"text/plain; charset==utf-8;;; x=y",
        b"text/plain charset=utf-8",
        b"text/plain; charset=utf-8; charset=latin1",
        b"(comment) text (c) / plain ; (c) charset (c) = utf-8 (",
        b"application/x; name*0*=utf-8''%e2%82; name*1*=%ac; name*2=.txt",
        b"application/x; name*1=b; name*0=a; name*3=d",
        b"application/x; name*=utf-8''%e2%82%ac; name=fallback",
        b"application/x; name*=broken%zz; title*0*=x'",
        b"application/x; name*999=x; name*1000=y; *0=z; n**=q",
        b'application/x; name="=?utf-8?b?w6k=?="',
        b'application/x; name="a\\"b\\\\c\r\n d"',
        b"application/x; name=\xff\xfe\x00",
        b"application/x" + b"; a=b" * 1_000,
        b"application/x" + b"".join(b"; n*%d=x" % number for number in range(1_000)),
        b"multipart/mixed; boundary*0=b; boundary*1=b",
        b"multipart/mixed; boundary*=utf-8''bb",
        b"m\xe9ssage/rfc822",
    )
    for index, value in enumerate(types):
        yield (
            f"type-{index}",
            b"Content-Type: " + value + b"\r\nContent-Disposition: " + value + b"\r\n\r\n--bb\r\n\r\nx\r\n--bb--\r\n",
        )


def _multipart(body: bytes, extra: bytes = b"", boundary: bytes = b"b") -> bytes:
    return (
        HEAD
        + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="'
        + boundary
        + b'"'
        + extra
        + b"\r\n\r\n"
        + body
    )


def _multiparts() -> Iterator[tuple[str, bytes]]:
    bodies = {
        "no-parts": b"",
        "no-boundary": b"preamble only\r\n",
        "close-only": b"--b--\r\n",
        "no-close": b"--b\r\n\r\none\r\n--b\r\n\r\ntwo",
        "empty-parts": b"--b\r\n--b\r\n--b\r\n--b--",
        "empty-bodies": b"--b\r\n\r\n--b\r\n\r\n\r\n--b--\r\n",
        "headers-without-blank-line": b"--b\r\nContent-Type: text/html\r\n--b--\r\n",
        "text-without-header": b"--b\r\nHello, there\r\nno header\r\n\r\nmore\r\n--b--\r\n",
        "padding": b"--b \t\r\n\r\none\r\n--b--  \r\nepilogue",
        "prefix": b"--bb\r\n\r\nno\r\n--b\r\n\r\nyes\r\n--bb--\r\n--b--\r\n",
        "after-the-end": b"--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\nhidden\r\n--b--\r\n",
        "lf-ends": b"--b\n\none\n--b\n\ntwo\n--b--\n",
        "not-at-line-start": b"--b\r\n\r\none --b\r\n --b\r\n--b--\r\n",
        "nul": b"--b\r\n\r\n\0\0\r\n--b--\r\n",
        "inner-never-closed": (
            b"--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
            b"--c\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
        ),
        "same-boundary-inside": (
            b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n--b--\r\n"
        ),
        "message": b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n--b--\r\n",
        "message-empty": b"--b\r\nContent-Type: message/rfc822\r\n\r\n--b--\r\n",
        "message-in-base64": (
            b"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n"
            b"\r\nU3ViamVjdDogeA0KDQp5\r\n--b--\r\n"
        ),
        "message-global": b"--b\r\nContent-Type: message/global\r\n\r\nSubject: \xc3\xa9\r\n\r\nbody\r\n--b--\r\n",
        "digest": (
            b"--b\r\nContent-Type: multipart/digest; boundary=d\r\n\r\n"
            b"--d\r\n\r\nSubject: x\r\n\r\ny\r\n--d--\r\n--b--\r\n"
        ),
        "language": (
            b"--b\r\nContent-Language: en, de ,, fr\r\nContent-Location: http://x.test/\r\n y\r\n"
            b"Content-MD5: Q2hlY2s=\r\n"
            b"Content-ID: <a@b>\r\nContent-Description: \xe9\r\n"
            b"Content-Disposition: inline; filename*=utf-8''%e2%82%ac\r\n\r\nx\r\n--b--"
        ),
    }
    for name, body in bodies.items():
        yield f"multipart-{name}", _multipart(body)
        yield f"multipart-{name}-lf", _multipart(body).replace(b"\r\n", b"\n")
    yield "boundary-empty", _multipart(b"--\r\n\r\nx\r\n----\r\n", boundary=b"")
    yield "boundary-too-long", _multipart(b"--" + b"x" * 300 + b"\r\n\r\nx", boundary=b"x" * 300)
    yield "boundary-missing", HEAD + b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
    yield "boundary-eight-bit", _multipart(b"--\xff\r\n\r\nx\r\n--\xff--", boundary=b"\xff")
    yield "nested-60", nested(60)
    yield "nested-messages-60", nested_messages(60)
    yield "related", _python_nest()


def _python_nest() -> bytes:
    outer = MIMEMultipart("related")
    inner = MIMEMultipart("alternative")
    inner.attach(MIMEText("plain", "plain"))
    inner.attach(MIMEText("<p>", "html"))
    outer.attach(inner)
    outer.attach(MIMEMessage(inner))
    return outer.as_bytes()


def _encodings() -> Iterator[tuple[str, bytes]]:
    bodies = {
        b"base64": (b"QQ==QQ==", b"Q", b"QQ", b"====", b"!!!!", b"QUJD\0REVG", b"Q Q = =\r\nQUI"),
        b"quoted-printable": (b"=", b"=4", b"=ZZ", b"a=\r\nb", b"a = \r\nb", b"=E9 \t\r\n", b"soft=\n"),
        b"x-uuencode": (
            b"begin 644 x\r\n#0V%T\r\n`\r\nend\r\n",
            b"begin 644 x\r\n\xff\xff\r\n",
            b"garbage",
            b"begin 6",
        ),
        b"x-unknown": (b"anything",),
        b"": (b"nothing",),
        b"BASE64 (comment); x=y": (b"QUJD",),
    }
    for encoding, texts in bodies.items():
        for index, body in enumerate(texts):
            name = encoding.decode().partition(" ")[0] or "none"
            yield f"encoding-{name}-{index}", b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body
    charsets = (
        "utf-8 us-ascii iso-8859-1 iso-2022-jp gb2312 big5 euc-kr "
        " shift_jis koi8-r utf-7 utf-16 utf-16le hz x-none zip rot13 punycode"
    )
    for charset in charsets.split():
        head = b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n"
        yield f"charset-{charset}", head + bytes(range(256)) + b"\xe2\x82"
        yield f"charset-{charset}-ascii", head + b"plain +2D0- ~{ text"
    yield "charset-in-html", b"Content-Type: text/html\r\n\r\n<meta charset=koi8-r>\xc1\xc2"


def _mutilated(count: int = 300, seed: int = 2231) -> Iterator[tuple[str, bytes]]:
    """One rich message, cut and overwritten by chance (always the same chance)."""
    chance = random.Random(seed)
    whole = dict(_multiparts())["multipart-language"] + nested(3) + dict(_multiparts())["multipart-message"]
    signs = (b"\r\n", b"\n", b"\r", b"\0", b"--b", b'"', b"(", b"<", b";", b"=?", b":", b"\xff", b"\r\n\r\n", b" ")
    for number in range(count):
        octets = bytearray(whole)
        for _ in range(chance.randrange(1, 12)):
            at = chance.randrange(len(octets))
            octets[at : at + chance.randrange(4)] = chance.choice(signs)
        yield f"mutilated-{number}", bytes(octets[: chance.randrange(len(octets))] if number % 3 == 0 else octets)


def nested(depth: int) -> bytes:
    """Multiparts in multiparts."""
    out = [HEAD]
    out.extend(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(depth)
    )
    out.append(b"\r\ninnermost\r\n")
    out.extend(b"--b%d--\r\n" % level for level in reversed(range(depth)))
    return b"".join(out)


def nested_messages(depth: int) -> bytes:
    """Messages in messages."""
    return HEAD + b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n" * depth + b"\r\ninnermost\r\n"


def _prefixes(size: int) -> bytes:
    """Fifty multiparts in each other, the boundary of each a beginning of the next: every line looks like all of
    them and is none."""
    heads = b"".join(
        b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n" % (b"a" * n, b"a" * n) for n in range(1, 49)
    )
    return HEAD + heads + b"\r\n" + (b"--" + b"a" * 50 + b"x\r\n") * (size // 55)


SIZE = 10 * MIB
# Big messages by name, each made when it is asked for: together they would fill the memory.
LARGE: dict[str, Callable[[], bytes]] = {
    "nested-10000": lambda: nested(10_000),
    "nested-messages-10000": lambda: nested_messages(10_000),
    "parts-100000": lambda: _multipart(b"--b\r\n\r\nx\r\n" * 100_000 + b"--b--\r\n"),
    "header-only": lambda: b"X: " + b"y" * SIZE,
    "header-lines": lambda: b"X: y\r\n" * (SIZE // 6),
    "header-folds": lambda: b"Subject: x" + b"\r\n y" * (SIZE // 4),
    "header-blank-folds": lambda: b"Subject:" + b"\n " * (SIZE // 2),
    "header-no-colon": lambda: b"x" * SIZE,
    "header-junk-lines": lambda: b"junk line\r\n" * (SIZE // 11),
    "body-newlines": lambda: HEAD + b"\r\n" + b"\n" * SIZE,
    "body-crs": lambda: HEAD + b"\r\n" + b"\r" * SIZE,
    "dashes": lambda: _multipart(b"-" * SIZE, boundary=b"-" * 70),
    "dash-lines": lambda: _multipart((b"\n" + b"-" * 60) * (SIZE // 61), boundary=b"-" * 70),
    "false-boundaries": lambda: _multipart(b"\n--bx" * (SIZE // 5)),
    "padded-boundaries": lambda: _multipart((b"\n--b" + b" " * 1_000 + b"x") * (SIZE // 1_005)),
    "prefix-boundaries": lambda: _prefixes(SIZE),
    "nested-newlines": lambda: nested_messages(49) + b"\n" * SIZE,
    "addresses": lambda: b"To: " + b"a@b.test, " * (SIZE // 10) + b"\r\n\r\nx",
    "address-comments": lambda: b"To: " + b"(" * (SIZE // 2) + b")" * (SIZE // 2) + b"\r\n\r\nx",
    "address-quotes": lambda: b"To: " + b'"\\' * (SIZE // 2) + b"\r\n\r\nx",
    "address-route": lambda: b"To: <@" + b"," * SIZE + b"\r\n\r\nx",
    "address-words": lambda: b"To: " + b"x " * (SIZE // 2) + b"@y\r\n\r\nx",
    "address-angles": lambda: b"To: " + b"<" * SIZE + b"\r\n\r\nx",
    "address-fields": lambda: b"".join(name + b": " + b"<" * 170_000 + b"\r\n" for name in ADDRESS_NAMES) + b"\r\nx",
    "enclosed-addresses": lambda: _multipart((ENCLOSED + b"\r\nTo: " + b"<" * 10_000 + b"\r\n\r\nx\r\n") * 1_000),
    "encoded-words": lambda: b"Subject: " + b"=?utf-8?q?x?= " * (SIZE // 14) + b"\r\n\r\nx",
    "encoded-word-heads": lambda: b"Subject: " + b"=?utf-8?q?" * (SIZE // 10) + b"\r\n\r\nx",
    "parameters": lambda: b"Content-Type: text/plain" + b'; a="b' * (SIZE // 6) + b"\r\n\r\nx",
    "parameter-names": lambda: b"Content-Type: text/plain; " + b"a" * SIZE + b"\r\n\r\nx",
    "type-comments": lambda: b"Content-Type: " + b"(" * SIZE + b"\r\n\r\nx",
    "base64-padding": lambda: b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QQ==" * (SIZE // 4),
    "base64-junk": lambda: b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * SIZE,
    "quoted-printable": lambda: b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * SIZE,
    "trailing-spaces": lambda: b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b" " * SIZE + b"x \r\n",
    "uuencode": lambda: b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n" + b"#0V%T\r\n" * (SIZE // 7),
}


def large() -> Iterator[tuple[str, bytes]]:
    """Name and message, most of them 10 MiB."""
    for name, make in LARGE.items():
        yield name, make()
