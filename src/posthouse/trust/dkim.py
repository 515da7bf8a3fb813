"""DKIM signatures: what they say, making them, and verifying them (RFC 6376, RFC 8301, RFC 8463).

    fields = sign(header, body, signers, times)     DKIM-Signature fields, to be put in front of the message

    found = find_signatures(octets)                 what the message has, read; or what is wrong with each
    records = {name: answer of the DNS, for name in queries(found)}
    verdicts = verify(octets, found, records, rules)     one Checked for each

It does NOT ask the DNS, and does no arithmetic with keys: a `Seal` that signs a digest, and a `CheckSeal` that checks
one, are handed in (`net/dkimkeys.py`). rsa-sha1 is no algorithm here (RFC 8301 §3.1). `z=` is not looked at.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from mmap import mmap
from typing import NamedTuple

from posthouse.mail import compose, header
from posthouse.mail.address import Domain, parse_domain
from posthouse.mail.header import Field
from posthouse.trust.canonical import Canon, body_hashes, canonical_field
from posthouse.trust.resolver import Answer, Found
from posthouse.trust.tags import KeyFault, KeyRecord, decode, read_key, read_tags

SIGNATURES = 8  # of one message that are verified (limits.md); mail through a list with ARC has three or four
SIGNED_NAMES = 1_000  # in one h=; as many as fields of a header are looked at
RECORDS = 4  # key records at one name that are tried; more than one is against RFC 6376 §3.6.2.2
LEEWAY = 300  # seconds that the signer's clock and ours may differ (RFC 6376 §3.5, x=)
SEAL_LINE = 64  # characters of b= in one line
SELECTOR_LENGTH = 190  # characters; with a domain and _domainkey it is a name of the DNS, of at most 253

_NAME, FIELD = "DKIM-Signature", b"dkim-signature"
# Fields that are signed, and once more than they are there: nobody can add another (RFC 6376 §5.4, limits.md S21).
CLOSED = (
    b"From", b"To", b"Cc", b"Subject", b"Date", b"Reply-To", b"Message-ID", b"MIME-Version", b"Content-Type",
    b"Content-Transfer-Encoding", b"Content-Disposition", b"Content-ID",
)  # fmt: skip
# Fields that are signed where they are there (RFC 6376 §5.4.1, RFC 8058 §4, RFC 8460 §5.3).
OPEN = (
    b"Sender", b"In-Reply-To", b"References", b"Resent-Date", b"Resent-From", b"Resent-To", b"Resent-Cc", b"List-Id",
    b"List-Help", b"List-Unsubscribe", b"List-Unsubscribe-Post", b"List-Subscribe", b"List-Post", b"List-Owner",
    b"List-Archive", b"Auto-Submitted", b"TLS-Required", b"TLS-Report-Domain", b"TLS-Report-Submitter",
)  # fmt: skip

# RFC 5321 §4.1.2   sub-domain; DNS names of keys have underscores as well
_SELECTOR = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z", re.IGNORECASE)
_NUMBER = re.compile(rb"[0-9]{1,12}\Z")  # sig-t-tag, sig-x-tag
_LENGTH = re.compile(rb"[0-9]{1,76}\Z")  # sig-l-tag
_FIELD_NAME = re.compile(rb"[!-9;-~]+\Z")  # RFC 5322 §2.2   ftext; not ";", which ends the list
# The value of b=, with all white space around it, which is no part of what is signed (RFC 6376 §3.7).
_B_VALUE = re.compile(rb"((?:\A|;)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*+")
_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")  # RFC 6376 §3.5


class Algorithm(Enum):
    """How a digest is signed, as `a=` has it."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"  # RFC 8463 §3

    @property
    def kind(self) -> str:
        """The kind of its key: `k=` of the record."""
        return self.value.partition("-")[0]


class Result(Enum):
    """What is said of a signature to others (RFC 8601 §2.7.1)."""

    PASS = "pass"
    FAIL = "fail"
    POLICY = "policy"
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Fault(Enum):
    """Why a signature is not good, in the words of RFC 6376 §6.1."""

    SYNTAX = "signature syntax error"
    VERSION = "incompatible version"
    MISSING = "signature missing required tag"
    DOMAIN = "domain mismatch"
    FROM = "From field not signed"
    ALGORITHM = "unknown algorithm"
    HISTORIC = "rsa-sha1 is not acceptable"
    QUERY = "unknown query method"
    EXPIRED = "signature expired"
    UNSIGNED = "unsigned content"
    FIELDS = "too many header fields"
    NO_ANSWER = "key unavailable"
    NO_KEY = "no key for signature"
    KEY_SYNTAX = "key syntax error"
    KEY_HASH = "inappropriate hash algorithm"
    KEY_SERVICE = "key is not for this service"
    KEY_KIND = "inappropriate key algorithm"
    KEY_SIZE = "key too short"
    REVOKED = "key revoked"
    BODY = "body hash did not verify"
    SEAL = "signature did not verify"


_RESULTS = {
    Fault.SYNTAX: Result.NEUTRAL,
    Fault.VERSION: Result.NEUTRAL,
    Fault.ALGORITHM: Result.NEUTRAL,
    Fault.QUERY: Result.NEUTRAL,
    Fault.FIELDS: Result.NEUTRAL,
    Fault.HISTORIC: Result.POLICY,
    Fault.EXPIRED: Result.POLICY,
    Fault.UNSIGNED: Result.POLICY,
    Fault.KEY_SIZE: Result.POLICY,
    Fault.NO_ANSWER: Result.TEMPERROR,
    Fault.BODY: Result.FAIL,
    Fault.SEAL: Result.FAIL,
}


@dataclass(frozen=True, slots=True)
class Signature:
    """A DKIM-Signature as it says it is (RFC 6376 §3.5). `names` are lower case; `identity` is the domain of i=."""

    algorithm: Algorithm
    canons: tuple[Canon, Canon]  # of the header and of the body
    domain: Domain
    selector: str
    names: tuple[bytes, ...]
    body_hash: bytes
    seal: bytes
    identity: Domain
    length: int | None = None
    at: int | None = None
    expires: int | None = None

    @property
    def query(self) -> str:
        """The name of its key record (RFC 6376 §3.6.2.1)."""
        return record_name(self.selector, self.domain)


class Candidate(NamedTuple):
    """One DKIM-Signature field of a message, read, or why it is none."""

    field: Field
    read: Signature | Fault


@dataclass(frozen=True, slots=True)
class Checked:
    """The end of one signature. `domain` and `selector` are what it says of itself, where that could be read;
    `testing` is the flag y of its key; `unsigned` counts octets of the body behind l=."""

    domain: str
    selector: str
    fault: Fault | None
    testing: bool = False
    unsigned: int = 0

    @property
    def result(self) -> Result:
        """As it is reported (RFC 8601 §2.7.1)."""
        return Result.PASS if self.fault is None else _RESULTS.get(self.fault, Result.PERMERROR)


#: Signs a SHA-256 digest with a private key.
Seal = Callable[[bytes], bytes]
#: Whether a seal is that of a digest by a public key; the fault otherwise: KEY_SYNTAX, KEY_KIND, KEY_SIZE or SEAL.
CheckSeal = Callable[[Algorithm, bytes, bytes, bytes], Fault | None]


class Rules(NamedTuple):
    """By what signatures are judged: `now` in seconds, and the service that a key must be for."""

    check: CheckSeal
    now: int
    service: str = "email"


def record_name(selector: str, domain: Domain) -> str:
    """Where the key record of a selector stands (RFC 6376 §3.6.2.1)."""
    return f"{selector}._domainkey.{domain}"


# --- reading


def find_signatures(octets: bytes | mmap) -> tuple[Candidate, ...]:
    """The first SIGNATURES of a message, from the top (RFC 6376 §6.1)."""
    fields = header.split(octets)
    found = [field for field in fields if field.name.lower() == FIELD][:SIGNATURES]
    if len(fields) >= header.FIELDS:  # what stands behind these could be another From
        return tuple(Candidate(field, Fault.FIELDS) for field in found)
    return tuple(Candidate(field, read_signature(octets[field.value_start : field.stop])) for field in found)


def queries(found: Iterable[Candidate]) -> tuple[str, ...]:
    """The names of key records that verifying needs, each once."""
    return tuple(dict.fromkeys(one.read.query for one in found if isinstance(one.read, Signature)))


def read_signature(value: bytes) -> Signature | Fault:
    """The value of a DKIM-Signature field, read meticulously (RFC 6376 §6.1.1)."""
    tags = read_tags(value.rstrip(b"\r\n"))
    if tags is None:
        return Fault.SYNTAX
    if not all(name in tags for name in _REQUIRED):
        return Fault.MISSING
    algorithm, canons = _algorithm(tags["a"]), _canons(tags.get("c", b"simple/simple"))
    if tags["v"] != b"1":
        return Fault.VERSION
    if isinstance(algorithm, Fault):
        return algorithm
    if b"dns/txt" not in [method.strip(b" \t") for method in tags.get("q", b"dns/txt").split(b":")]:
        return Fault.QUERY
    return Fault.SYNTAX if canons is None else _read(tags, algorithm, canons)


def _algorithm(value: bytes) -> Algorithm | Fault:
    if value == b"rsa-sha1":
        return Fault.HISTORIC
    found = [algorithm for algorithm in Algorithm if algorithm.value.encode() == value]
    return found[0] if found else Fault.ALGORITHM


# RFC 6376 §3.5   sig-c-tag = %x63 [FWS] "=" [FWS] sig-c-tag-alg ["/" sig-c-tag-alg]
def _canons(value: bytes) -> tuple[Canon, Canon] | None:
    first, _, second = value.decode("ascii", "replace").partition("/")
    try:
        return Canon(first), Canon(second or ("" if value.endswith(b"/") else "simple"))
    except ValueError:
        return None


def _read(tags: Mapping[str, bytes], algorithm: Algorithm, canons: tuple[Canon, Canon]) -> Signature | Fault:
    selector = tags["s"].decode("ascii", "replace")
    signed = tuple(name.strip(b" \t").lower() for name in tags["h"].split(b":", SIGNED_NAMES))
    domain, hashed, seal = _domain(tags["d"]), decode(tags["bh"]), decode(tags["b"])
    length, at, expires = (_number(tags.get(name), name) for name in ("l", "t", "x"))
    named = len(signed) <= SIGNED_NAMES and all(map(_FIELD_NAME.match, signed))
    selectable = len(selector) <= SELECTOR_LENGTH and _SELECTOR.match(selector) is not None
    if domain is None or not hashed or not seal or not named or not selectable or -1 in (length, at, expires):
        return Fault.SYNTAX
    if at is not None and expires is not None and expires <= at:
        return Fault.SYNTAX
    identity = _domain(tags.get("i", b"@" + tags["d"]).rpartition(b"@")[2]) if b"@" in tags.get("i", b"@") else None
    if identity is None:
        return Fault.SYNTAX
    if identity != domain and not identity.name.endswith(f".{domain.name}"):
        return Fault.DOMAIN
    if b"from" not in signed:
        return Fault.FROM
    return Signature(algorithm, canons, domain, selector, signed, hashed, seal, identity, length, at, expires)


# RFC 6376 §3.5   domain-name = sub-domain 1*("." sub-domain); U-labels in a header of UTF-8 (RFC 8616 §4)
def _domain(value: bytes) -> Domain | None:
    try:
        domain = parse_domain(value.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    return domain if domain is not None and not domain.literal and "." in domain.name else None


def _number(value: bytes | None, tag: str) -> int | None:
    """-1 where it is no number."""
    if value is None:
        return None
    return int(value) if (_LENGTH if tag == "l" else _NUMBER).match(value) else -1


# --- verifying


def verify(
    octets: bytes | mmap, found: Sequence[Candidate], records: Mapping[str, Answer[bytes]], rules: Rules
) -> tuple[Checked, ...]:
    """Each signature on its own merits, in the order in which they stand (RFC 6376 §6.1). `records` are the TXT records
    at the names in `queries`; one that is not among them was not had. Reads the body once for each canonicalization:
    large messages belong in a thread."""
    good = [(one, one.read) for one in found if isinstance(one.read, Signature)]
    start, fields = header.header_end(octets), header.split(octets)
    hashes: dict[Canon, tuple[dict[int | None, bytes], int]] = {}
    for canon in Canon:
        lengths = {signature.length for _, signature in good if signature.canons[1] is canon}
        if lengths:
            hashes[canon] = body_hashes(octets, start, canon, tuple(lengths))
    checked = []
    for one in found:
        if isinstance(one.read, Fault):
            checked.append(_unread(octets, one.field, one.read))
            continue
        by_length, size = hashes[one.read.canons[1]]
        digest = _digest(octets, fields, one.field, one.read)
        hashed = _Hashed(by_length[one.read.length], size, digest)
        checked.append(_judge(one.read, hashed, records.get(one.read.query, Answer(Found.TIMEOUT)), rules))
    return tuple(checked)


class _Hashed(NamedTuple):
    """What was computed for one signature: the hash of the body as far as l= says, the size of it all, and the hash of
    the header."""

    body: bytes
    size: int
    header: bytes


def _unread(octets: bytes | mmap, field: Field, fault: Fault) -> Checked:
    """A signature that cannot be verified, with the domain that it names."""
    tags = read_tags(octets[field.value_start : field.stop].rstrip(b"\r\n")) or {}
    domain, selector = _domain(tags.get("d", b"")), tags.get("s", b"").decode("ascii", "replace")
    shown = selector if _SELECTOR.match(selector) and len(selector) <= SELECTOR_LENGTH else ""
    return Checked(domain.name if domain else "", shown, fault)


def _judge(signature: Signature, hashed: _Hashed, answer: Answer[bytes], rules: Rules) -> Checked:
    """RFC 6376 §6.1.2, §6.1.3."""
    domain, selector = signature.domain.name, signature.selector
    unsigned = 0 if signature.length is None else hashed.size - signature.length
    if signature.expires is not None and signature.expires + LEEWAY < rules.now:
        return Checked(domain, selector, Fault.EXPIRED)
    if unsigned < 0:
        return Checked(domain, selector, Fault.SYNTAX)  # RFC 6376 §3.5: l= must not be larger than the body
    if answer.temporary:
        return Checked(domain, selector, Fault.NO_ANSWER)
    if not answer.records:
        return Checked(domain, selector, Fault.NO_KEY)
    faults: list[tuple[Fault | None, bool]] = []
    for text in answer.records[:RECORDS]:
        record = read_key(text)
        fault = Fault.KEY_SYNTAX if isinstance(record, KeyFault) else _by_key(signature, hashed, record, rules)
        faults.append((fault, isinstance(record, KeyRecord) and record.testing))
        if fault is None:
            break
    fault, testing = faults[-1] if faults[-1][0] is None else faults[0]
    if fault is None and unsigned:
        fault = Fault.UNSIGNED  # RFC 6376 §8.2: anybody may have written what stands behind
    return Checked(domain, selector, fault, testing, unsigned)


def _by_key(signature: Signature, hashed: _Hashed, record: KeyRecord, rules: Rules) -> Fault | None:
    if record.hashes is not None and "sha256" not in record.hashes:
        return Fault.KEY_HASH
    if not record.serves(rules.service):
        return Fault.KEY_SERVICE
    if not record.key:
        return Fault.REVOKED
    if record.kind != signature.algorithm.kind:
        return Fault.KEY_KIND
    if record.strict and signature.identity != signature.domain:
        return Fault.DOMAIN
    if hashed.body != signature.body_hash:
        return Fault.BODY
    return rules.check(signature.algorithm, record.key, signature.seal, hashed.header)


def _digest(octets: bytes | mmap, fields: Sequence[Field], own: Field, signature: Signature) -> bytes:
    """The hash over the signed fields and the signature without its b= (RFC 6376 §3.7, §5.4.2)."""
    raw = [(field.name.lower(), octets[field.start : field.stop], field.value_start - field.start - 1)
           for field in fields if field != own]  # fmt: skip
    emptied = octets[own.start : own.value_start] + _B_VALUE.sub(rb"\1", octets[own.value_start : own.stop], count=1)
    ours = canonical_field(emptied, own.value_start - own.start - 1, signature.canons[0])
    return _header_hash(_signed(raw, signature.names, signature.canons[0]), ours)


def _signed(raw: Iterable[tuple[bytes, bytes, int]], names: Sequence[bytes], canon: Canon) -> Iterator[bytes]:
    """The fields that are named, of those that have the same name from the bottom to the top; those that are not there
    are nothing (RFC 6376 §5.4.2). `raw`: their names in lower case, octets, and colons."""
    left: dict[bytes, list[tuple[bytes, int]]] = {}
    for name, octets, colon in raw:
        left.setdefault(name, []).append((octets, colon))
    for name in names:
        if left.get(name):
            yield canonical_field(*left[name].pop(), canon)


def _header_hash(fields: Iterable[bytes], ours: bytes) -> bytes:
    """The signature itself comes last, without a CRLF (RFC 6376 §3.7)."""
    return sha256(b"".join(fields) + ours[:-2]).digest()


# --- signing


class Signer(NamedTuple):
    """A key of ours, and where its record stands."""

    domain: Domain
    selector: str
    algorithm: Algorithm
    seal: Seal


class Times(NamedTuple):
    """t= and x=, in seconds (RFC 6376 §3.5)."""

    at: int
    expires: int


def sign(head: bytes, body: tuple[bytes | mmap, int], signers: Sequence[Signer], times: Times) -> bytes:
    """A DKIM-Signature field for each signer, to be put in front of `head`; nothing where there is no From to sign
    (RFC 6376 §5.4). `body`: octets, and where in them it begins. Large bodies belong in a thread."""
    fields = header.split(head)
    raw = [(field.name.lower(), head[field.start : field.stop], field.value_start - field.start - 1)
           for field in fields]  # fmt: skip
    if len(fields) >= header.FIELDS or not signers or not any(name == b"from" for name, _, _ in raw):
        return b""
    names = _to_sign([name for name, _, _ in raw])
    hashes, _ = body_hashes(*body, Canon.RELAXED)
    signed = b"".join(_signed(raw, [name.lower() for name in names], Canon.RELAXED))
    made = [_words(signer, names, hashes[None], times) for signer in signers]
    return b"".join(_sealed(words, signed, signer) for words, signer in zip(made, signers, strict=True))


def _to_sign(present: Sequence[bytes]) -> list[bytes]:
    closed = [name for name in CLOSED for _ in range(present.count(name.lower()) + 1)]
    return closed + [name for name in OPEN for _ in range(present.count(name.lower()))]


def _words(signer: Signer, names: Sequence[bytes], body_hash: bytes, times: Times) -> list[str]:
    """The field but for its b=: no l=, and a domain that everybody can look up (RFC 6376 §3.5, RFC 8460 §3)."""
    listed = [f"{name.decode()}:" for name in names]
    listed[0], listed[-1] = f"h={listed[0]}", f"{listed[-1][:-1]};"
    return [
        "v=1;",
        f"a={signer.algorithm.value};",
        "c=relaxed/relaxed;",
        f"d={signer.domain};",
        f"s={signer.selector};",
        f"t={times.at};",
        f"x={times.expires};",
        *listed,
        f"bh={b64encode(body_hash).decode()};",
    ]


def _sealed(words: Sequence[str], signed: bytes, signer: Signer) -> bytes:
    unsealed = canonical_field(compose.structured(_NAME, [*words, "b="]), len(_NAME), Canon.RELAXED)
    seal = b64encode(signer.seal(_header_hash([signed], unsealed))).decode()
    lines = [seal[at : at + SEAL_LINE] for at in range(0, len(seal), SEAL_LINE)]
    return compose.structured(_NAME, [*words, f"b={lines[0]}", *lines[1:]])
