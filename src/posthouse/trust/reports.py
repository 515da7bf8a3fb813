"""TLS reports: what is counted, where a domain wants to hear of it, and the report itself (RFC 8460).

It does NOT collect or send: `transport/tlscount.py` counts, `transport/reports.py` sends.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote

URIS = 5  # of one record that are served; the RFC bounds nothing
URI_LENGTH = 2_000  # characters
DETAILS = 500  # failures of one report that are told one by one
REASON = 200  # characters of one reason


class PolicyType(Enum):
    """What applied to a session (RFC 8460 §4.4)."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


class Failure(Enum):
    """result-type: why a session failed (RFC 8460 §4.3)."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    HOST_MISMATCH = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION = "validation-failure"
    STS_FETCH = "sts-policy-fetch-error"
    STS_INVALID = "sts-policy-invalid"
    STS_WEBPKI = "sts-webpki-invalid"


class Applied(NamedTuple):
    """Under which policy of which domain a session was. `lines` are policy-string, `patterns` mx-host."""

    domain: str
    kind: PolicyType
    lines: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


class Counted(NamedTuple):
    """So many sessions of one kind; `failure` is None for those that went well."""

    applied: Applied
    failure: Failure | None
    host: str
    ip: str
    reason: str
    sessions: int


@dataclass(frozen=True, slots=True)
class Report:
    """One report: who sends it, for which time (text of RFC 3339), about what."""

    organization: str
    contact: str
    id: str
    start: str
    end: str
    counted: tuple[Counted, ...]


# RFC 8460 §3   tlsrpt-record = tlsrpt-version 1*(field-delim tlsrpt-field); rua = "rua=" tlsrpt-uri *("," tlsrpt-uri)
def report_uris(texts: Sequence[bytes]) -> tuple[str, ...]:
    """Where the domain wants its reports: `mailto:` and `https:` URIs of its record, if it has exactly one (§3)."""
    records = [text for text in texts if text.replace(b" ", b"").startswith(b"v=TLSRPTv1;")]
    if len(records) != 1:
        return ()
    for field in records[0].split(b";")[1:]:
        name, _, value = field.strip(b" \t").partition(b"=")
        if name.strip() == b"rua":
            return tuple(filter(_is_uri, _texts(value)))[:URIS]
    return ()


def _texts(value: bytes) -> list[str]:
    return [each.strip() for each in value.decode("ascii", "replace").split(",")]


def _is_uri(text: str) -> bool:
    return text.isprintable() and len(text) <= URI_LENGTH and text.lower().startswith(("mailto:", "https://"))


def mail_address(uri: str) -> str | None:
    """The address of a `mailto:` URI, without what may follow it (RFC 6068 §2); None for another URI."""
    if not uri.lower().startswith("mailto:"):
        return None
    return unquote(uri[len("mailto:") :].partition("?")[0])


def printed(report: Report) -> bytes:
    """The report as JSON (RFC 8460 §4.4)."""
    document = {
        "organization-name": report.organization,
        "date-range": {"start-datetime": report.start, "end-datetime": report.end},
        "contact-info": report.contact,
        "report-id": report.id,
        "policies": [_policy(applied, report.counted) for applied in dict.fromkeys(c.applied for c in report.counted)],
    }
    return json.dumps(document, indent=1).encode("ascii")


def _policy(applied: Applied, counted: Sequence[Counted]) -> dict[str, object]:
    ours = [one for one in counted if one.applied == applied]
    policy: dict[str, object] = {"policy-type": applied.kind.value, "policy-domain": applied.domain}
    if applied.lines:
        policy["policy-string"] = list(applied.lines)
    if applied.patterns:
        policy["mx-host"] = list(applied.patterns)
    failed = [one for one in ours if one.failure is not None]
    found: dict[str, object] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": sum(one.sessions for one in ours if one.failure is None),
            "total-failure-session-count": sum(one.sessions for one in failed),
        },
    }
    if failed:
        found["failure-details"] = [_detail(one) for one in failed[:DETAILS]]
    return found


def _detail(counted: Counted) -> dict[str, object]:
    assert counted.failure is not None
    told = {
        "result-type": counted.failure.value,
        "receiving-mx-hostname": counted.host,
        "receiving-ip": counted.ip,
        "failure-reason-code": counted.reason[:REASON],
    }
    return {**{key: value for key, value in told.items() if value}, "failed-session-count": counted.sessions}
