"""One question to a DNS server and what its answer means: octets both ways (RFC 1035 §4), with dnspython's messages.

A question carries a random id and letters of random case (draft-vixie-dnsext-dns0x20): who does not see it must guess
both, and the port. It has the AD bit, which asks whether the answer was validated (RFC 6840 §5.7), and EDNS.

Importing this takes 50 ms: only who asks the DNS does.
"""

import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TLSA
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rrset

from posthouse.trust.resolver import Found, Mx, Tlsa

PAYLOAD = 1_232  # octets by UDP that no path cuts into pieces (DNS flag day 2020, RFC 9715 §3)
HEADER = 12  # octets, RFC 1035 §4.1.1
CNAMES = 8  # links of a chain; beyond it a name leads nowhere
RECORDS = 200  # of one answer; the rest is not looked at
WITHOUT_SOA = 60  # seconds to believe a denial that does not say how long (RFC 2308 §5)
UNUSABLE = Tlsa(255, 255, 255, b"")  # in place of TLSA records that cannot be read: they exist (RFC 7672 §2.2)
# What dnspython may raise for octets that are no message.
GARBAGE = (dns.exception.DNSException, ValueError, IndexError, KeyError, TypeError, struct.error)


class Kind(Enum):
    """What is asked for: the types of records mail needs."""

    A = dns.rdatatype.A
    AAAA = dns.rdatatype.AAAA
    CNAME = dns.rdatatype.CNAME
    MX = dns.rdatatype.MX
    PTR = dns.rdatatype.PTR
    TXT = dns.rdatatype.TXT
    TLSA = dns.rdatatype.TLSA


class Asked(NamedTuple):
    """A question as it was sent. `name` has its letters as they must come back."""

    octets: bytes
    id: int
    name: dns.name.Name
    kind: Kind


class Unanswered(Enum):
    """Octets that end no question, and what is to be done."""

    FOREIGN = "not the answer to this question"  # go on waiting
    OTHER_CASE = "the letters came back changed"  # ask by TCP, where nobody guesses
    TRUNCATED = "more than fits"  # RFC 7766 §5: ask by TCP
    NO_EDNS = "EDNS was not understood"  # RFC 6891 §7: ask without
    FAILED = "the server cannot say"  # SERVFAIL, REFUSED, no recursion: ask another


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer. `end` is where the CNAMEs in it lead; `unfinished`: there it is to be asked once more."""

    found: Found
    records: tuple[object, ...]
    end: dns.name.Name
    ttl: int
    authentic: bool  # the AD bit, whoever set it
    links: int = 0
    unfinished: bool = False


def parse_name(text: str) -> dns.name.Name | None:
    """A name to ask for; None where there can be no such name."""
    try:
        name = dns.name.from_text(text.rstrip(".") + ".")
    except (dns.exception.DNSException, ValueError):  # UnicodeError is a ValueError
        return None
    return name if len(name.labels) > 1 else None


def spelled(name: dns.name.Name) -> str:
    """Lower case, without a final dot."""
    return name.to_text(omit_final_dot=True).lower() if len(name.labels) > 1 else ""


def ask(name: dns.name.Name, kind: Kind, *, edns: bool = True) -> Asked:
    """A question that only who sees it can answer."""
    mixed = dns.name.Name([_mixed(label) for label in name.labels])
    number = secrets.randbelow(1 << 16)
    flags = dns.flags.RD | dns.flags.AD
    message = dns.message.make_query(
        mixed, kind.value, use_edns=0 if edns else False, payload=PAYLOAD if edns else None, id=number, flags=flags
    )
    return Asked(message.to_wire(), number, mixed, kind)


def _mixed(label: bytes) -> bytes:
    bits = secrets.randbits(max(1, len(label)))
    return bytes(c ^ 0x20 if _is_letter(c) and bits >> i & 1 else c for i, c in enumerate(label))


def _is_letter(octet: int) -> bool:
    return 65 <= octet & ~0x20 <= 90


def read(asked: Asked, octets: bytes) -> Reading | Unanswered:
    """What the octets say to this question. Never raises."""
    if len(octets) < HEADER:
        return Unanswered.FOREIGN
    number, flags = struct.unpack_from("!HH", octets)
    if number != asked.id or not flags & dns.flags.QR or flags & 0x7800:
        return Unanswered.FOREIGN
    cut = bool(flags & dns.flags.TC)
    try:
        message = dns.message.from_wire(octets, question_only=cut, ignore_trailing=True, continue_on_error=True)
    except GARBAGE:
        return Unanswered.FOREIGN
    strange = _strange(asked, message)
    if strange is not None:
        return strange
    return Unanswered.TRUNCATED if cut else _meaning(asked, message)


def _strange(asked: Asked, message: dns.message.Message) -> Unanswered | None:
    """Whether this answers another question, or answers strangely (RFC 5452 §9.1)."""
    if not message.question and message.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        return Unanswered.NO_EDNS
    if len(message.question) != 1:
        return Unanswered.FOREIGN
    question = message.question[0]
    if (question.name, question.rdtype) != (asked.name, asked.kind.value) or question.rdclass != dns.rdataclass.IN:
        return Unanswered.FOREIGN
    return None if question.name.labels == asked.name.labels else Unanswered.OTHER_CASE


def _meaning(asked: Asked, message: dns.message.Message) -> Reading | Unanswered:
    rcode = message.rcode()
    if rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        return Unanswered.NO_EDNS
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Unanswered.FAILED
    try:
        return _follow(asked, message)
    except GARBAGE:
        return Unanswered.FOREIGN


def _follow(asked: Asked, message: dns.message.Message) -> Reading | Unanswered:
    """Along the CNAMEs from the name asked for: only what they lead to is believed (RFC 1034 §3.6.2)."""
    end, links, ttl = asked.name, 0, 1 << 31
    authentic = bool(message.flags & dns.flags.AD)
    while (answer := _rrset(message, message.answer, end, asked.kind.value)) is None:
        alias = _rrset(message, message.answer, end, dns.rdatatype.CNAME)
        if alias is None:
            break
        end, links, ttl = cast(dns.rdtypes.ANY.CNAME.CNAME, alias[0]).target, links + 1, min(ttl, alias.ttl)
        if links > CNAMES:
            return Unanswered.FAILED
    if answer is not None:
        if message.rcode() == dns.rcode.NXDOMAIN:
            return Unanswered.FAILED  # it says both
        records = tuple(RECORD[asked.kind](one) for one in list(answer)[:RECORDS])
        return Reading(Found.RECORDS, records, end, min(ttl, answer.ttl), authentic, links)
    if message.errors:  # records that are none: nobody can say what is missing
        unusable = asked.kind is Kind.TLSA and links == 0
        return Reading(Found.RECORDS, (UNUSABLE,), end, WITHOUT_SOA, authentic) if unusable else Unanswered.FAILED
    return _denial(message, Reading(Found.NO_DATA, (), end, ttl, authentic, links))


def _denial(message: dns.message.Message, reading: Reading) -> Reading | Unanswered:
    """A name that is not there, or not with this type (RFC 2308 §2); or the answer ends in the middle of a chain."""
    soa = next((rrset for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA), None)
    found = Found.NXDOMAIN if message.rcode() == dns.rcode.NXDOMAIN else Found.NO_DATA
    ttl = WITHOUT_SOA if soa is None else min(soa.ttl, cast(dns.rdtypes.ANY.SOA.SOA, soa[0]).minimum)
    if soa is None and found is Found.NO_DATA:
        if reading.links:
            return Reading(found, (), reading.end, reading.ttl, reading.authentic, reading.links, unfinished=True)
        if not message.flags & (dns.flags.RA | dns.flags.AA):
            return Unanswered.FAILED  # a referral by a server that asks nobody for us
    return Reading(found, (), reading.end, min(reading.ttl, ttl), reading.authentic, reading.links)


def _rrset(
    message: dns.message.Message, section: list[dns.rrset.RRset], name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    rrset = message.get_rrset(section, name, dns.rdataclass.IN, kind)
    return rrset if rrset else None


# --- records


def _mx(record: dns.rdtypes.ANY.MX.MX) -> Mx:
    return Mx(record.preference, spelled(record.exchange))


def _txt(record: dns.rdtypes.ANY.TXT.TXT) -> bytes:
    return b"".join(record.strings)  # RFC 7208 §3.3: joined without spaces


def _tlsa(record: dns.rdtypes.ANY.TLSA.TLSA) -> Tlsa:
    return Tlsa(record.usage, record.selector, record.mtype, record.cert)


RECORD: dict[Kind, Callable[[Any], object]] = {
    Kind.A: lambda record: cast(dns.rdtypes.IN.A.A, record).address,
    Kind.AAAA: lambda record: cast(dns.rdtypes.IN.AAAA.AAAA, record).address,
    Kind.MX: _mx,
    Kind.CNAME: lambda record: spelled(cast(dns.rdtypes.ANY.CNAME.CNAME, record).target),
    Kind.PTR: lambda record: spelled(cast(dns.rdtypes.ANY.PTR.PTR, record).target),
    Kind.TXT: _txt,
    Kind.TLSA: _tlsa,
}
