"""Domains, addresses and the paths of an Envelope (RFC 5321 §4.1.2, §4.1.3, RFC 6531 §3.3).

Parsing of wire syntax (paths with angle brackets, source routes) is done in `wire/smtp`; header address lists
are in `address_list.py`. Here are the values they end in, and the one parser for `local@domain`.
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass

DOMAIN_LENGTH = 255  # octets, RFC 5321 §4.5.3.1.2
LOCAL_LENGTH = 64  # octets, RFC 5321 §4.5.3.1.1
PATH_LENGTH = 256  # octets with the angle brackets, RFC 5321 §4.5.3.1.3

# RFC 5321 §4.1.2   sub-domain = Let-dig [Ldh-str]; RFC 6531 §3.3 adds U-labels. `_` is seen in real host names.
_LABEL = r"[A-Za-z0-9_\u0080-\U0010ffff](?:[A-Za-z0-9_\u0080-\U0010ffff-]{0,61}[A-Za-z0-9_\u0080-\U0010ffff])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
# RFC 5321 §4.1.2   Dot-string = Atom *("." Atom), with UTF8-non-ascii in atext (RFC 6531 §3.3)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
# RFC 5321 §4.1.2   Quoted-string = DQUOTE *QcontentSMTP DQUOTE
_QUOTED_STRING = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*"\Z')
# RFC 3490 §3.1: what people type as a dot between labels; and letters that IDNA 2003 had no names for.
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_KEPT = frozenset("\u00df\u03c2")
_QUOTED_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain name, or an address literal in square brackets, in canonical form: lower case, A-labels kept as
    they are, U-labels turned into A-labels where IDNA allows (RFC 5321 §4.1.2, §4.1.3, RFC 6531 §3.2)."""

    name: str

    @property
    def literal(self) -> bool:
        """An address literal such as `[192.0.2.1]` (RFC 5321 §4.1.3)."""
        return self.name.startswith("[")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Address:
    """A Mailbox of RFC 5321 §4.1.2: local-part and domain. `local` is unquoted; `domain` is canonical."""

    local: str
    domain: Domain

    def __str__(self) -> str:
        return f"{quote_local(self.local)}@{self.domain}"

    @property
    def ascii(self) -> bool:
        """Whether it can be sent without SMTPUTF8 (RFC 6531 §3.2)."""
        return self.local.isascii() and self.domain.name.isascii()


@dataclass(frozen=True, slots=True)
class ReversePath:
    """The Reverse-path of MAIL: an address, or none for the null reverse-path `<>` (RFC 5321 §4.1.1.2, §4.5.5)."""

    address: Address | None = None

    def __str__(self) -> str:
        return "" if self.address is None else str(self.address)


@dataclass(frozen=True, slots=True)
class ForwardPath:
    """The Forward-path of RCPT. `address.domain.name` is "" for `<Postmaster>` alone (RFC 5321 §4.1.1.3)."""

    address: Address

    def __str__(self) -> str:
        return str(self.address) if self.address.domain.name else self.address.local


def parse_domain(text: str) -> Domain | None:
    """A Domain or address literal from its text, or None where it is neither (RFC 5321 §4.1.2, §4.1.3)."""
    if text.startswith("["):
        return _parse_literal(text)
    text = text.rstrip(".") if text.endswith(".") and len(text) > 1 else text
    if len(text) > DOMAIN_LENGTH or not _DOMAIN.match(text):
        return None
    if text.isascii():
        return Domain(text.lower())
    try:
        name = ".".join(_a_label(label) for label in _DOTS.split(text.lower()))
    except UnicodeError:
        return None
    return Domain(name) if len(name) <= DOMAIN_LENGTH else None


def _a_label(label: str) -> str:
    """The A-label of a U-label (RFC 5890 §2.3.2.1). Of Python's IDNA 2003 two letters come out as others, which IDNA
    2008 keeps (RFC 5894 §7.2): with them a label would be that of another domain."""
    name = label.encode("idna").decode("ascii")
    if _KEPT.isdisjoint(label):
        return name
    kept = unicodedata.normalize("NFC", label).encode("punycode").decode("ascii")
    if len(kept) > 59:  # with "xn--" a label has 63
        raise UnicodeError("label too long")
    return f"xn--{kept}"


def _parse_literal(text: str) -> Domain | None:
    if not text.endswith("]"):
        return None
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return Domain(f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]")
        return Domain(f"[{ipaddress.IPv4Address(inner)}]")
    except ValueError:
        return None


def parse_address(text: str) -> Address | None:
    """`local@domain` as typed by a person or carried in a path, or None where it is not one (RFC 5321 §4.1.2)."""
    at = text.rfind("@")
    if at < 1 or len(text.encode("utf-8", "replace")) > PATH_LENGTH - 2:
        return None
    local = parse_local(text[:at])
    domain = parse_domain(text[at + 1 :])
    if local is None or domain is None:
        return None
    return Address(local, domain)


def parse_local(text: str) -> str | None:
    """The unquoted local-part, or None (RFC 5321 §4.1.2). More than 64 octets are refused (§4.5.3.1.1)."""
    if len(text.encode("utf-8", "replace")) > LOCAL_LENGTH:
        return None
    if _DOT_STRING.match(text):
        return text
    if _QUOTED_STRING.match(text):
        return _QUOTED_PAIR.sub(r"\1", text[1:-1])
    return None


def quote_local(local: str) -> str:
    """The local-part as it is written on the wire: quoted only where it must be (RFC 5321 §4.1.2)."""
    if _DOT_STRING.match(local):
        return local
    return '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
