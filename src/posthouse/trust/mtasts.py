"""MTA-STS: records and policies, read, and which hosts a policy names (RFC 8461 §3, §4.1).

It does NOT fetch a policy: `net/policy_fetch.py` does, and `transport/policies.py` keeps them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

POLICY_OCTETS = 64 * 1024  # RFC 8461 §3.3 proposes this
MAX_AGE = 31_557_600  # seconds, RFC 8461 §3.2: about a year
PATTERNS = 200  # `mx` lines of one policy
LINES = 2_000  # of one policy
ID = re.compile(rb"[A-Za-z0-9]{1,32}\Z")  # RFC 8461 §3.1   sts-id = 1*32(ALPHA / DIGIT)
RECORD = re.compile(rb"v=STSv1[ \t]*;")  # sts-version, first
# RFC 8461 §3.2   sts-policy-mx-value = ["*."] Domain
PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z")


class Mode(Enum):
    """What a host that does not fit means (RFC 8461 §5)."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """An MTA-STS policy."""

    mode: Mode
    max_age: int
    patterns: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What it says, without fields that nobody knows: as it is kept, and quoted in reports (RFC 8460 §4.4)."""
        mx = (f"mx: {pattern}" for pattern in self.patterns)
        return ("version: STSv1", f"mode: {self.mode.value}", *mx, f"max_age: {self.max_age}")


def owner(domain: str) -> str:
    """The name at which a domain's record stands (RFC 8461 §3.1)."""
    return f"_mta-sts.{domain}"


def policy_host(domain: str) -> str:
    """The host that has its policy (RFC 8461 §3.2)."""
    return f"mta-sts.{domain}"


def record_id(texts: Sequence[bytes]) -> str | None:
    """The id of the policy that the TXT records announce; None: there is none, or not exactly one (RFC 8461 §3.1)."""
    records = [text for text in texts if RECORD.match(text)]
    if len(records) != 1:
        return None
    for field in records[0].split(b";")[1:]:
        name, _, value = field.strip(b" \t").partition(b"=")
        if name == b"id":
            return value.decode("ascii") if ID.match(value) else None
    return None


def parse_policy(octets: bytes) -> Policy | str:
    """A policy from its octets, or what is wrong with it (RFC 8461 §3.2)."""
    if len(octets) > POLICY_OCTETS:
        return "the policy is too large"
    try:
        lines = [line.strip(" \t") for line in re.split(r"\r?\n", octets.decode("utf-8"))]
    except UnicodeDecodeError:
        return "the policy is not UTF-8 text"
    lines = [line for line in lines if line]
    if len(lines) > LINES:
        return "the policy has too many lines"
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon:
            return f"{line[:40]!r} is no field of a policy"
        if name == "mx":
            patterns.append(value.lower().rstrip("."))
        else:
            fields.setdefault(name, value)  # RFC 8461 §3.2: the first counts
    return _settled(fields, patterns)


def _settled(fields: dict[str, str], patterns: Sequence[str]) -> Policy | str:
    if fields.get("version") != "STSv1":
        return "the policy does not say version: STSv1"
    age = fields.get("max_age", "")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        return "the policy has no max_age that is a number"
    try:
        mode = Mode(fields.get("mode", ""))
    except ValueError:
        return "the policy has no mode that is enforce, testing or none"
    if mode is not Mode.NONE and not patterns:
        return "the policy names no mx"
    wrong = [pattern for pattern in patterns if not PATTERN.match(pattern)]
    if wrong:
        return f"{wrong[0][:80]!r} is no name of an mx"
    return Policy(mode, min(int(age), MAX_AGE), tuple(patterns[:PATTERNS]))


def matches_policy(policy: Policy, host: str) -> bool:
    """Whether the policy names this host: a wildcard stands for exactly one label (RFC 8461 §4.1)."""
    host = host.lower().rstrip(".")
    first, _, rest = host.partition(".")
    return any(
        pattern == host or (bool(first) and bool(rest) and pattern == f"*.{rest}") for pattern in policy.patterns
    )
