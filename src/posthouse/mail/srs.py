"""SRS: the sender of a message that an alias sends on to another server (Sender Rewriting Scheme).

Who sends mail on keeps the name of its sender, and the next server sees it come from a machine that may not send for
that name (SPF). So the sender becomes an address of the house that leads back: `SRS0=hash=day=domain=local`, or
`SRS1=hash=domain=rest` of what another forwarder has rewritten already. The hash shows that it was made here, and the
day that it is not old, so that nobody can send through it to whom they please.

Pure: the key and the day are handed in.
"""

import hmac
from base64 import b32encode

from posthouse.mail.address import LOCAL_LENGTH, Address, Domain, parse_domain, quote_local

HASH = 8  # letters of 5 bits: a guess is right once in a million million
DAYS = 1_024  # days that two letters tell apart
VALID_DAYS = 21  # bounces come within a few days, a week or two where somebody waits long

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_SEPARATORS = "=+-"


def rewrite(sender: Address, domain: Domain, key: bytes, day: int) -> Address | None:
    """The address at `domain` that leads back to this sender; None where it would be longer than a local-part may be
    (RFC 5321 §4.5.3.1.1)."""
    again = _again(sender)
    if again is None:
        rest = f"{_stamp(day)}={sender.domain}={sender.local}"
        local = f"SRS0={_hash(key, rest)}={rest}"
    else:
        local = f"SRS1={_hash(key, again)}={again}"
    if len(quote_local(local).encode("utf-8")) > LOCAL_LENGTH:
        return None
    return Address(local, domain)


def is_rewritten(address: Address) -> bool:
    """Whether it looks like an address that `rewrite` made."""
    return address.local[:4].upper() in ("SRS0", "SRS1") and address.local[4:5] == "="


def restore(address: Address, key: bytes, day: int) -> Address | None:
    """Whom mail to a rewritten address is for; None where it was not made with this key, or too long ago."""
    if not is_rewritten(address):
        return None
    given, _, rest = address.local[5:].partition("=")
    if not hmac.compare_digest(_hash(key, rest).encode("ascii"), given.lower().encode("utf-8", "replace")):
        return None
    return _first(rest, day) if address.local[3] == "0" else _second(rest)


def _first(rest: str, day: int) -> Address | None:
    stamp, _, address = rest.partition("=")
    domain, _, local = address.partition("=")
    made = _day(stamp)
    if made is None or (day - made) % DAYS > VALID_DAYS:
        return None
    return _address(local, domain)


def _second(rest: str) -> Address | None:
    """The forwarder before us, which knows how to lead on."""
    domain, _, local = rest.partition("=")
    return _address(f"SRS0{local}", domain)


def _address(local: str, name: str) -> Address | None:
    domain = parse_domain(name)
    return None if domain is None or not local else Address(local, domain)


def _again(sender: Address) -> str | None:
    """What stands behind the hash of SRS1, where somebody has rewritten this sender before: the first forwarder, and
    the rest of what it wrote with its separator."""
    kind, rest = sender.local[:4].upper(), sender.local[4:]
    if not rest or rest[0] not in _SEPARATORS:
        return None
    if kind == "SRS0":
        return f"{sender.domain}={rest}"
    _, _, known = rest[1:].partition("=")
    return known if kind == "SRS1" and "=" in known else None


def _hash(key: bytes, text: str) -> str:
    """Without regard to case: servers on the way may change it."""
    digest = hmac.digest(key, text.lower().encode("utf-8"), "sha256")
    return b32encode(digest).decode("ascii").lower()[:HASH]


def _stamp(day: int) -> str:
    high, low = divmod(day % DAYS, len(_LETTERS))
    return _LETTERS[high] + _LETTERS[low]


def _day(stamp: str) -> int | None:
    if len(stamp) != 2 or any(letter not in _LETTERS for letter in stamp.lower()):
        return None
    return _LETTERS.index(stamp[0].lower()) * len(_LETTERS) + _LETTERS.index(stamp[1].lower())
