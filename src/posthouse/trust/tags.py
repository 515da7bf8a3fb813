"""Tag=value lists, and the key records of DKIM that are made of them (RFC 6376 §3.2, §3.6.1, RFC 8463 §4.2).

    tags = read_tags(octets)         {"v": b"DKIM1", ...}, or None where it is no tag-list
    record = read_key(octets)        a KeyRecord, or a KeyFault

It does NOT ask the DNS for a record, and it does not look inside a key: `net/dkimkeys.py` does.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

LIST_OCTETS = 65_536  # of one tag-list; a signature with all its header fields copied (z=) has 20,000
TAGS = 64  # of one list; eleven are defined for a signature, eight for a key
RECORD_OCTETS = 8_192  # of one key record: an RSA key of 16,384 bits has 2,700 (limits.md)
NAMES = 32  # in a list of names with colons: hashes, services, flags

# RFC 6376 §3.2   tag-name = ALPHA *ALNUMPUNC
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*+\Z")
# RFC 6376 §2.8   FWS = [*WSP CRLF] 1*WSP; a bare LF is a line end too, as everywhere in a header
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_SPACE = re.compile(rb"[ \t]++")
# RFC 6376 §3.2   tval = 1*VALCHAR; octets beyond ASCII are let through (RFC 8616 §3)
_VALUE = re.compile(rb"[\x21-\x3a\x3c-\x7e\x80-\xff \t]*+\Z")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*+={0,2}\Z")
_WSP = b" \t"


def read_tags(octets: bytes) -> dict[str, bytes] | None:
    """The tags of a list, with their values as they stand there, without white space at both ends; None where it is no
    tag-list, or has a name twice (RFC 6376 §3.2)."""
    if len(octets) > LIST_OCTETS:
        return None
    specs = _FOLD.sub(b"", octets).split(b";", TAGS + 1)
    if len(specs) > 1 and not specs[-1].strip(_WSP):
        specs.pop()
    if len(specs) > TAGS:
        return None
    tags: dict[str, bytes] = {}
    for spec in specs:
        name, equals, value = spec.partition(b"=")
        name = name.strip(_WSP)
        if not equals or not _NAME.match(name) or not _VALUE.match(value) or name.decode() in tags:
            return None
        tags[name.decode()] = value.strip(_WSP)
    return tags


def decode(value: bytes) -> bytes | None:
    """base64string, in which white space is ignored (RFC 6376 §2.10); None where it is none."""
    letters = _SPACE.sub(b"", value)
    if not _BASE64.match(letters):
        return None
    try:
        return b64decode(letters, validate=True)
    except Base64Error:
        return None


def names(value: bytes) -> tuple[str, ...]:
    """A list of names with colons between them (RFC 6376 §3.6.1); names beyond NAMES are none."""
    return tuple(name.strip(_WSP).decode("ascii", "replace") for name in value.split(b":", NAMES)[:NAMES])


class KeyFault(Enum):
    """Why a record is no key (RFC 6376 §6.1.2)."""

    SYNTAX = "it is no list of tags"
    VERSION = "it does not begin with v=DKIM1"
    NO_KEY = "it has no p= with the key"
    KEY = "its p= is no base64"
    KIND = "its k= is a kind of key that nobody knows"


KINDS = ("rsa", "ed25519")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key record (RFC 6376 §3.6.1). `key` is empty where it is revoked. `hashes` and `services` are None where all
    are meant. `testing` and `strict` are the flags y and s."""

    kind: str
    key: bytes
    hashes: frozenset[str] | None = None
    services: frozenset[str] | None = None
    testing: bool = False
    strict: bool = False

    def serves(self, service: str) -> bool:
        """Whether it is for this service type: `email`, or `tlsrpt` (RFC 8460 §3)."""
        return self.services is None or not self.services.isdisjoint((service, "*"))


def read_key(octets: bytes) -> KeyRecord | KeyFault:
    """A key record, its character-strings joined (RFC 6376 §3.6.2.2)."""
    if len(octets) > RECORD_OCTETS:
        return KeyFault.SYNTAX
    tags = read_tags(octets)
    if tags is None:
        return KeyFault.SYNTAX
    if tags.get("v", b"DKIM1") != b"DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        return KeyFault.VERSION
    if "p" not in tags:
        return KeyFault.NO_KEY
    kind = tags.get("k", b"rsa").decode("ascii", "replace")
    if kind not in KINDS:
        return KeyFault.KIND
    key = decode(tags["p"])
    if key is None:
        return KeyFault.KEY
    flags = names(tags.get("t", b""))
    return KeyRecord(kind, key, _set(tags.get("h")), _set(tags.get("s")), "y" in flags, "s" in flags)


def _set(value: bytes | None) -> frozenset[str] | None:
    return None if value is None else frozenset(names(value))


class Published(Enum):
    """What the DNS has where a key record of ours should be."""

    GOOD = "is there"
    MISSING = "is not there"
    SEVERAL = "is there with others beside it, and only one may be"
    QUOTED = "is there with quotation marks or backslashes in it that belong to the zone file"
    CUT = "is there, and its end is missing"
    OTHER = "is there with another key"
    REVOKED = "is there without a key, which revokes it"
    UNREADABLE = "is there, and no key can be read from it"
    TESTING = "is there with t=y, which asks others not to believe it"
    UNFIT = "is there, and does not allow signatures of mail with SHA-256"


def published(records: Sequence[bytes], ours: bytes) -> Published:
    """What is wrong with the TXT records at the name where `ours` should be."""
    if not records:
        return Published.MISSING
    if len(records) > 1:
        return Published.SEVERAL
    record, mine = read_key(records[0]), read_key(ours)
    if isinstance(record, KeyFault) or isinstance(mine, KeyFault):
        return _damage(records[0], ours)
    if not record.key:
        return Published.REVOKED
    if (record.kind, record.key) != (mine.kind, mine.key):
        cut = record.kind == mine.kind and mine.key.startswith(record.key)
        return Published.CUT if cut else Published.OTHER
    if record.testing:
        return Published.TESTING
    hashed = record.hashes is None or "sha256" in record.hashes
    return Published.GOOD if hashed and record.serves("email") and record.serves("tlsrpt") else Published.UNFIT


def _damage(record: bytes, ours: bytes) -> Published:
    """What happened to a record that is not read as it should be."""
    if b'"' in record or b"\\" in record:
        return Published.QUOTED
    theirs, mine = (_SPACE.sub(b"", text) for text in (record, ours))
    return Published.CUT if len(theirs) < len(mine) and mine.startswith(theirs) else Published.UNREADABLE
