"""GETQUOTA, GETQUOTAROOT and SETQUOTA, and their responses (RFC 9208 §4, §7).

A quota root is an opaque string here, and a resource a name; what they are is not known. ANNOTATION-STORAGE and
resources to come are read as any name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import NUMBER64, Scanner
from posthouse.wire.imap.response import Printed, print_astring, print_mailbox

RESOURCES = 20  # of one SETQUOTA; four are defined
ROOT_LENGTH = 1_024  # octets of the name of a quota root: more than an address has
NAME_LENGTH = 64  # characters of the name of a resource

_NAME = re.compile(rb"[A-Z][A-Z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class GetQuota:
    """GETQUOTA (RFC 9208 §4.1.1)."""

    tag: bytes
    root: str


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    """GETQUOTAROOT (RFC 9208 §4.1.2)."""

    tag: bytes
    mailbox: str


@dataclass(frozen=True, slots=True)
class SetQuota:
    """SETQUOTA (RFC 9208 §4.1.3): each resource once, in upper case, with its limit."""

    tag: bytes
    root: str
    limits: tuple[tuple[str, int], ...]


QuotaCommand = GetQuota | GetQuotaRoot | SetQuota


def parse_get_quota(tag: bytes, scanner: Scanner) -> GetQuota:
    """What follows `GETQUOTA` (RFC 9208 §7)."""
    return GetQuota(tag, _root(scanner))


def parse_get_quota_root(tag: bytes, scanner: Scanner) -> GetQuotaRoot:
    """What follows `GETQUOTAROOT` (RFC 9208 §7)."""
    scanner.space()
    return GetQuotaRoot(tag, scanner.mailbox())


def parse_set_quota(tag: bytes, scanner: Scanner) -> SetQuota:
    """What follows `SETQUOTA` (RFC 9208 §7)."""
    root = _root(scanner)
    scanner.space()
    limits = scanner.parenthesized(_resource, empty=True)
    if len(limits) > RESOURCES:
        raise over_limit(f"SETQUOTA takes at most {RESOURCES} resources.")
    if len(dict(limits)) < len(limits):
        raise Fault("SETQUOTA takes each resource once.")
    return SetQuota(tag, root, tuple(limits))


def _root(scanner: Scanner) -> str:
    """quota-root-name = astring. One that is no UTF-8 names nothing here, and is no mistake."""
    scanner.space()
    octets = scanner.astring()
    if len(octets) > ROOT_LENGTH:
        raise over_limit(f"The name of a quota root may have at most {ROOT_LENGTH} octets.")
    return octets.decode("utf-8", "replace")


def _resource(scanner: Scanner) -> tuple[str, int]:
    """setquota-resource = resource-name SP resource-limit."""
    name = scanner.word()
    if not _NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        raise Fault("A resource of a quota is STORAGE, MESSAGE or MAILBOX.")
    scanner.space()
    return name.decode("ascii"), scanner.number(NUMBER64)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of a quota root: its name, how much of it is used, and how much there may be."""

    name: str
    usage: int
    limit: int


def print_quota(root: str, resources: Sequence[Resource], utf8: bool = False) -> Printed:
    """QUOTA (RFC 9208 §4.2.1)."""
    triplets = " ".join(f"{each.name} {each.usage} {each.limit}" for each in resources)
    name = print_astring(root.encode("utf-8"), utf8)
    return Printed(b"* QUOTA %b (%b)\r\n" % (name, triplets.encode("ascii")))


def print_quota_root(mailbox: str, root: str, utf8: bool = False) -> Printed:
    """QUOTAROOT (RFC 9208 §4.2.2) of a mailbox that has one quota root."""
    return Printed(b"* QUOTAROOT %b %b\r\n" % (print_mailbox(mailbox, utf8), print_astring(root.encode("utf-8"), utf8)))
