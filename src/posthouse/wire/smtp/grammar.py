"""The grammar of SMTP commands: verbs, paths, parameters (RFC 5321 §4.1.2).

Each regex stands below the production it is named after. Paths end in the values of `mail/address.py`.

It is more lenient than the ABNF in two places, because old programs need it: blanks may stand between `FROM:` or
`TO:` and the path, and at the end of a line (RFC 5321 §4.1.1). A path without angle brackets is not a path.
"""

import re

from posthouse.mail.address import (
    DOMAIN_LENGTH,
    LOCAL_LENGTH,
    PATH_LENGTH,
    Address,
    Domain,
    ForwardPath,
    ReversePath,
    parse_domain,
    parse_local,
)
from posthouse.mail.status import Reply, reply

PARAMETERS = 20  # esmtp-params of one command; there are not twenty in all RFCs together

# RFC 5321 §4.1.1   verb and argument; octets below blank are in no command (§2.3.8)
LINE = re.compile(rb"(?P<verb>[^ ]+)(?: +(?P<argument>.*?))? *\Z", re.DOTALL)
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# RFC 5321 §4.1.1.1   ehlo = "EHLO" SP ( Domain / address-literal ); what clients really call themselves is taken
CLIENT_NAME = re.compile(rb"[\x21-\x7e]{1,%d}\Z" % DOMAIN_LENGTH)
# RFC 5321 §4.1.1.2   mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]; §4.1.1.3 the same with TO
# RFC 5321 §4.1.2   Quoted-string may hold ">" and blanks
_PATH = rb'<(?:[^"<>\\]|"(?:[^"\\]|\\.)*")*>'
FROM = re.compile(rb"FROM: *(?P<path>%s)(?: +(?P<parameters>.*))?\Z" % _PATH, re.IGNORECASE | re.DOTALL)
TO = re.compile(rb"TO: *(?P<path>%s)(?: +(?P<parameters>.*))?\Z" % _PATH, re.IGNORECASE | re.DOTALL)
# RFC 5321 §4.1.2   esmtp-keyword ["=" esmtp-value]; RFC 6531 §3.3 adds UTF-8 to the value
PARAMETER = re.compile(rb"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[^\x00-\x20=\x7f]+))?\Z")
# RFC 5321 §4.1.2   A-d-l = At-domain *( "," At-domain ), with the colon behind it
SOURCE_ROUTE = re.compile(r"@(?P<domains>[^:\"\\,]+(?:,@[^:\"\\,]+)*):")
# RFC 1870 §3   size-value = 1*20DIGIT
SIZE = re.compile(rb"[0-9]{1,20}\Z")
# RFC 3030 §2   chunk-size = 1*DIGIT; more than 20 digits are no size
BDAT = re.compile(rb"(?P<size>[0-9]{1,20})(?: +(?P<last>LAST))?\Z", re.IGNORECASE)
# RFC 4468 §3.5   burl-cmd = "BURL" SP absolute-URI [SP end-marker]
BURL = re.compile(rb"(?P<url>[\x21-\x7e]+)(?: +(?P<last>LAST))?\Z", re.IGNORECASE)
# RFC 4954 §4   auth-command = "AUTH" SP sasl-mech [SP initial-response]; RFC 4422 §3.1 sasl-mech
AUTH = re.compile(rb"(?P<mechanism>[A-Za-z0-9_-]{1,20})(?: +(?P<initial>[^ ]+))?\Z")
# RFC 3461 §4   xtext = *( xchar / hexchar )
XTEXT = re.compile(rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*\Z")
_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")

PATH_TOO_LONG = f"The path is longer than {PATH_LENGTH} octets"
LOCAL_TOO_LONG = f"The part before @ is longer than {LOCAL_LENGTH} octets"
NOT_AN_ADDRESS = "That is not an address; write it as <user@example.org>"

SENDER = "5.1.7"  # RFC 3463 §3.2: bad sender's mailbox address syntax
RECIPIENT = "5.1.3"  # RFC 3463 §3.2: bad destination mailbox address syntax


def reverse_path(octets: bytes) -> ReversePath | Reply:
    """Reverse-path = Path / "<>" (RFC 5321 §4.1.2), or the 501 that says what is wrong."""
    if octets == b"<>":
        return ReversePath(None)
    address = _address(octets, SENDER)
    return address if isinstance(address, Reply) else ReversePath(address)


def forward_path(octets: bytes) -> ForwardPath | Reply:
    """Forward-path, or `<Postmaster>` in any case (RFC 5321 §4.1.1.3), or the 501 that says what is wrong."""
    if octets.lower() == b"<postmaster>":
        return ForwardPath(Address(octets[1:-1].decode("ascii"), Domain("")))
    address = _address(octets, RECIPIENT)
    return address if isinstance(address, Reply) else ForwardPath(address)


def _address(path: bytes, status: str) -> Address | Reply:
    """Path = "<" [ A-d-l ":" ] Mailbox ">" (RFC 5321 §4.1.2). The source route is checked and ignored (§4.1.1.3)."""
    if len(path) > PATH_LENGTH:
        return reply(501, "5.1.7", PATH_TOO_LONG)
    try:
        mailbox = path[1:-1].decode("utf-8")
    except UnicodeDecodeError:
        return reply(501, status, "The address is neither ASCII nor UTF-8")
    route = SOURCE_ROUTE.match(mailbox)
    if route:
        if not all(parse_domain(hop) for hop in route["domains"].split(",@")):
            return reply(501, status, NOT_AN_ADDRESS)
        mailbox = mailbox[route.end() :]
    at = mailbox.rfind("@")
    if at > 0 and len(mailbox[:at].encode("utf-8")) > LOCAL_LENGTH:
        return reply(501, status, LOCAL_TOO_LONG)
    local, domain = (parse_local(mailbox[:at]), parse_domain(mailbox[at + 1 :])) if at > 0 else (None, None)
    if not local or domain is None:
        return reply(501, status, NOT_AN_ADDRESS)
    return Address(local, domain)


def split_parameters(octets: bytes) -> dict[bytes, bytes | None] | Reply:
    """Mail-parameters or Rcpt-parameters by keyword in upper case (RFC 5321 §4.1.2), or the reply to nonsense."""
    found: dict[bytes, bytes | None] = {}
    words = octets.split()
    if len(words) > PARAMETERS:
        return reply(501, "5.5.4", f"More than {PARAMETERS} parameters")
    for word in words:
        match = PARAMETER.match(word)
        if not match:
            return reply(501, "5.5.4", "A parameter is KEYWORD or KEYWORD=VALUE")
        keyword = match["keyword"].upper()
        if keyword in found:
            return reply(501, "5.5.4", f"{keyword.decode('ascii')} stands there twice")
        found[keyword] = match["value"]
    return found


def parse_xtext(octets: bytes) -> str | None:
    """The text behind xtext (RFC 3461 §4), or None where it is not xtext or not UTF-8."""
    if not XTEXT.match(octets):
        return None
    try:
        return _HEXCHAR.sub(lambda match: bytes([int(match[1], 16)]), octets).decode("utf-8")
    except UnicodeDecodeError:
        return None


# RFC 3461 §4   xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
_NO_XCHAR = re.compile(rb"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")


def print_xtext(text: str) -> bytes:
    """xtext (RFC 3461 §4), the inverse of `parse_xtext`."""
    return _NO_XCHAR.sub(lambda match: b"+%02X" % match[0][0], text.encode("utf-8"))
