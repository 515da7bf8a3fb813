"""serve/imap/criteria.py: texts of messages against search keys (RFC 9051 §6.4.4)."""

from datetime import date

import pytest

from posthouse.serve.imap.criteria import Facts, decider
from posthouse.wire.imap import search as keys

HEADER = (
    b"Date: Wed, 1 Mar 2023 23:30:00 -0500\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <juergen@work.test>\r\n"
    b"Subject: =?utf-8?b?w5xiZXJyYXNjaHVuZyBmw7xy?=\r\n =?utf-8?q?_Anna?=\r\nX-Empty:\r\n\r\n"
)
MIXED = (
    b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"PGI+Ym9sZDwvYj4=\r\n--b\r\nContent-Type: application/pdf; name=plan.pdf\r\n\r\nsecret\r\n--b\r\n"
    b"Content-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\nenclosed\r\n--b--\r\n"
)
SENT, BODY, TEXT = keys.Sent, keys.BodyContains, keys.TextContains
BEFORE, ON, SINCE = keys.Comparison.BEFORE, keys.Comparison.ON, keys.Comparison.SINCE


def matches(key: keys.SearchKey, header: bytes | None = HEADER, octets: bytes | None = None) -> bool | None:
    return decider(key, {})(Facts(1, header, octets))


@pytest.mark.parametrize(
    ("field", "text", "found"),
    [
        ("subject", "überraschung für anna", True),
        ("subject", "ÜBERRASCHUNG", True),
        ("subject", "u\u0308berraschung", True),  # the same letters, decomposed
        ("from", "jürgen <juergen@", True),
        ("from", "anna", False),
        ("x-empty", "", True),
        ("x-absent", "", False),
        ("date", "-0500", True),
    ],
)
def test_header(field, text, found):
    assert matches(keys.HeaderContains(field, text)) is found


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (SENT(ON, date(2023, 3, 1)), True),  # the day in the Date field's own zone, though it is the 2nd in UTC
        (SENT(ON, date(2023, 3, 2)), False),
        (SENT(BEFORE, date(2023, 3, 1)), False),
        (SENT(BEFORE, date(2023, 3, 2)), True),
        (SENT(SINCE, date(2023, 3, 1)), True),
        (SENT(SINCE, date(2023, 3, 2)), False),
    ],
)
def test_sent(key, found):
    assert matches(key) is found
    assert matches(key, b"Subject: without a date\r\n\r\n") is False
    assert matches(key, b"Date: yesterday\r\n\r\n") is False


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (BODY("gruße"), False),
        (BODY("GRÜßE"), True),
        (BODY("<b>bold"), False),  # of HTML, what a reader sees
        (BODY("BOLD"), True),
        (BODY("enclosed"), True),
        (BODY("inside"), True),
        (BODY("outer"), False),
        (BODY("secret"), False),
        (BODY("plan.pdf"), False),
        (TEXT("outer"), True),
        (TEXT("plan.pdf"), True),
        (TEXT("inside"), True),
        (TEXT("nowhere"), False),
        (BODY(""), True),
    ],
)
def test_body(key, found):
    assert matches(key, MIXED, MIXED) is found


def test_what_was_not_read_is_not_known():
    """Kleene's logic: a result that cannot change any more is given before everything is known."""
    body, yes, no = BODY("x"), keys.HeaderContains("subject", ""), keys.HeaderContains("x-absent", "")
    assert matches(body) is None
    assert matches(keys.Not(body)) is None
    assert matches(keys.And((yes, body))) is None
    assert matches(keys.And((body, no))) is False
    assert matches(keys.And((yes, yes))) is True
    assert matches(keys.Or(body, yes)) is True
    assert matches(keys.Or(yes, body)) is True
    assert matches(keys.Or(no, body)) is None
    assert matches(keys.Or(no, no)) is False
    assert matches(keys.Not(no)) is True
    assert matches(yes, None) is None
    assert matches(SENT(ON, date(2023, 3, 1)), None) is None


def test_answers_of_the_store_are_taken():
    flagged = keys.HasFlags(1)
    decide = decider(keys.Or(flagged, keys.Not(flagged)), {flagged: {1}})
    assert decide(Facts(1)) is True
    assert decide(Facts(2)) is True
    with pytest.raises(TypeError):
        decider(flagged, {})
