"""TLS reports (RFC 8460): where they go, and what stands in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.trust.reports import (
    Applied,
    Counted,
    Failure,
    PolicyType,
    Report,
    mail_address,
    printed,
    report_uris,
)


@pytest.mark.parametrize(
    ("texts", "uris"),
    [
        ([b"v=TLSRPTv1;rua=mailto:reports@example.com"], ("mailto:reports@example.com",)),
        (
            [b"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt, mailto:a@b.test"],
            ("https://reporting.example.com/v1/tlsrpt", "mailto:a@b.test"),
        ),
        ([b"x", b"v=TLSRPTv1; a=b; rua=mailto:a@b.test;"], ("mailto:a@b.test",)),
        ([b"v=TLSRPTv1;rua=mailto:a@b.test"] * 2, ()),
        ([b"v=TLSRPTv2;rua=mailto:a@b.test"], ()),
        ([b"v=TLSRPTv1;rua=http://a.test/"], ()),
        ([b"v=TLSRPTv1;rua=ftp://a.test/,MAILTO:a@b.test"], ("MAILTO:a@b.test",)),
        ([b"v=TLSRPTv1;"], ()),
        ([], ()),
        ([b"v=TLSRPTv1;rua=" + b",".join([b"mailto:a@b.test"] * 50)], ("mailto:a@b.test",) * 5),
    ],
)
def test_where_reports_go(texts: list[bytes], uris: tuple[str, ...]) -> None:
    """RFC 8460 §3."""
    assert report_uris(texts) == uris


@given(st.binary(max_size=200))
def test_garbage(octets: bytes) -> None:
    for uri in report_uris([b"v=TLSRPTv1;rua=" + octets]):
        mail_address(uri)


def test_addresses_of_uris() -> None:
    """RFC 6068 §2."""
    assert mail_address("mailto:a%2Bb@c.test?subject=x") == "a+b@c.test"
    assert mail_address("https://c.test/") is None


def test_the_document() -> None:
    """RFC 8460 §4.4 and the example of its Appendix B."""
    sts = Applied(
        "company-y.example", PolicyType.STS, ("version: STSv1", "mode: testing"), ("*.mail.company-y.example",)
    )
    plain = Applied("company-y.example", PolicyType.NONE)
    counted = (
        Counted(sts, None, "", "", "", 5326),
        Counted(sts, Failure.EXPIRED, "mx1.mail.company-y.example", "203.0.113.1", "it has expired", 100),
        Counted(sts, Failure.STARTTLS_NOT_SUPPORTED, "mx2.mail.company-y.example", "203.0.113.2", "", 200),
        Counted(plain, None, "", "", "", 1),
    )
    made = printed(Report("x.test", "a@x.test", "1@x.test", "2016-04-01T00:00:00Z", "2016-04-01T23:59:59Z", counted))
    document = json.loads(made)
    assert document["date-range"] == {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"}
    first, second = document["policies"]
    assert first["policy"] == {
        "policy-type": "sts",
        "policy-string": ["version: STSv1", "mode: testing"],
        "policy-domain": "company-y.example",
        "mx-host": ["*.mail.company-y.example"],
    }
    assert first["summary"] == {"total-successful-session-count": 5326, "total-failure-session-count": 300}
    assert first["failure-details"][0] == {
        "result-type": "certificate-expired",
        "receiving-mx-hostname": "mx1.mail.company-y.example",
        "receiving-ip": "203.0.113.1",
        "failure-reason-code": "it has expired",
        "failed-session-count": 100,
    }
    assert second == {
        "policy": {"policy-type": "no-policy-found", "policy-domain": "company-y.example"},
        "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
    }
