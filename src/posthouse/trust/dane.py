"""DANE: which certificates the TLSA records of a mail server stand for (RFC 6698, RFC 7671, RFC 7672).

Records of the usages DANE-TA(2) and DANE-EE(3) are used; the others say nothing for SMTP (RFC 7672 §3.1.3). What cannot
be used is dropped here, so that whoever finds no record left encrypts without verifying (RFC 7672 §2.2).

It does NOT ask the DNS, and checks no signature: `net/chain.py` follows a chain to its anchor.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from posthouse.trust.resolver import Tlsa

DANE_TA, DANE_EE = 2, 3  # RFC 7218 §2.1
CERTIFICATE, PUBLIC_KEY = 0, 1  # selectors, RFC 6698 §2.1.2
FULL, SHA2_256, SHA2_512 = 0, 1, 2  # matching types, RFC 6698 §2.1.3
DIGESTS: dict[int, Callable[[bytes], bytes]] = {
    SHA2_256: lambda octets: hashlib.sha256(octets).digest(),
    SHA2_512: lambda octets: hashlib.sha512(octets).digest(),
}
DIGEST_OCTETS = {SHA2_256: 32, SHA2_512: 64}
RECORDS = 100  # of one server; honest ones publish two to six
DER_LENGTH_OCTETS = 4  # of a DER length beyond 127: more than 4 GiB is no certificate


def owner(host: str, port: int) -> str:
    """The name at which the TLSA records of a server stand (RFC 6698 §3)."""
    return f"_{port}._tcp.{host}"


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """The records that a client of SMTP can use (RFC 7672 §3.1.3), of each kind those with the strongest digest, and
    those with full content (RFC 7671 §9)."""
    good = [record for record in records if _well_formed(record)][:RECORDS]
    strongest: dict[tuple[int, int], int] = {}
    for usage, selector, matching, _ in good:
        strongest[usage, selector] = max(matching, strongest.get((usage, selector), FULL))
    return tuple(r for r in good if r.matching in (FULL, strongest[r.usage, r.selector]))


def _well_formed(record: Tlsa) -> bool:
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if record.matching == FULL:
        return bool(record.association)
    return len(record.association) == DIGEST_OCTETS.get(record.matching, -1)


def matches(record: Tlsa, certificate: bytes) -> bool:
    """Whether the record stands for this certificate, DER (RFC 6698 §2.1)."""
    selected = certificate if record.selector == CERTIFICATE else public_key(certificate)
    if selected is None:
        return False
    if record.matching == FULL:
        return selected == record.association
    return DIGESTS[record.matching](selected) == record.association


def names_leaf(records: Sequence[Tlsa], leaf: bytes) -> bool:
    """DANE-EE(3): the server's own certificate is named; neither its names nor its dates count (RFC 7672 §3.1.1)."""
    return any(record.usage == DANE_EE and matches(record, leaf) for record in records)


def anchors(records: Sequence[Tlsa], issuers: Sequence[bytes]) -> tuple[bytes, ...]:
    """DANE-TA(2): the certificates that are trust anchors: of those the server sent above its own, and those that
    stand whole in a record (RFC 7671 §5.2)."""
    roots = [record for record in records if record.usage == DANE_TA]
    sent = [issuer for issuer in issuers if any(matches(record, issuer) for record in roots)]
    whole = [r.association for r in roots if r.selector == CERTIFICATE and r.matching == FULL]
    return tuple(dict.fromkeys([*sent, *whole]))


def anchor_keys(records: Sequence[Tlsa]) -> tuple[bytes, ...]:
    """DANE-TA(2) with a bare public key, `2 1 0`: its issuer need not be sent (RFC 7671 §5.2.3)."""
    return tuple(
        record.association
        for record in records
        if (record.usage, record.selector, record.matching) == (DANE_TA, PUBLIC_KEY, FULL)
    )


# --- as much DER as is needed


# RFC 5280 §4.1   TBSCertificate ::= SEQUENCE { version [0] EXPLICIT OPTIONAL, serialNumber, signature, issuer,
#                                               validity, subject, subjectPublicKeyInfo, ... }
_BEFORE_KEY = 5  # serialNumber, signature, issuer, validity, subject


def public_key(certificate: bytes) -> bytes | None:
    """The SubjectPublicKeyInfo of a certificate as it stands there, or None where this is no certificate."""
    try:
        start, end = _content(certificate, 0)  # Certificate
        at, _ = _content(certificate[:end], start)  # TBSCertificate
        if certificate[at] == 0xA0:
            at = _content(certificate, at)[1]
        for _ in range(_BEFORE_KEY):
            at = _content(certificate, at)[1]
        return certificate[at : _content(certificate, at)[1]]
    except (IndexError, ValueError):
        return None


def _content(octets: bytes, at: int) -> tuple[int, int]:
    """Where the content of the DER value at `at` begins and ends. Raises IndexError and ValueError."""
    first = octets[at + 1]
    start, length = at + 2, first
    if first >= 0x80:
        count = first & 0x7F
        if not 1 <= count <= DER_LENGTH_OCTETS:
            raise ValueError("this length is not DER")
        start += count
        length = int.from_bytes(octets[at + 2 : start], "big")
    if start + length > len(octets):
        raise ValueError("the value is cut short")
    return start, start + length
