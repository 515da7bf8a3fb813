"""One-time passwords by time: the second factor for the administrator's pages to come (RFC 6238, RFC 4226).

A secret of 160 bits (RFC 4226 §4, R6), HMAC-SHA-1, steps of 30 seconds and six digits: what every authenticator app
understands. `verify` looks one step back and one ahead (RFC 6238 §5.2) and never at a step that was used.

It does NOT know the time, keep a secret, or remember which step was used: `store/totp.py` does, for all workers. Mail
protocols do not ask for a second factor: a mail program that polls every few minutes cannot type one.
"""

import hmac
from base64 import b32encode
from urllib.parse import quote

SECRET_LENGTH = 20  # octets, RFC 4226 §4: 160 bits are recommended
STEP_SECONDS = 30  # RFC 6238 §5.2 recommends it
DIGITS = 6  # RFC 4226 §5.3: at least
LEEWAY = 1  # steps before and after: the code that was being typed, and a clock that is a little late


def hotp(secret: bytes, counter: int) -> str:
    """HOTP = Truncate(HMAC-SHA-1(K, C)) as DIGITS digits (RFC 4226 §5.3)."""
    mac = hmac.digest(secret, counter.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_at(seconds: int) -> int:
    """T, the time step at so many seconds since 1970 (RFC 6238 §4.2)."""
    return seconds // STEP_SECONDS


def verify(secret: bytes, typed: str, seconds: int, used: int) -> int | None:
    """The time step whose code was typed; None where it is no code of now, or of a step up to the one `used`."""
    digits = "".join(typed.split()).encode("utf-8", "replace")
    now, found = step_at(seconds), None
    for step in range(max(now - LEEWAY, used + 1, 0), now + LEEWAY + 1):
        if hmac.compare_digest(hotp(secret, step).encode(), digits):
            found = step if found is None else found
    return found


def base32(secret: bytes) -> str:
    """The secret as it is typed into an app (RFC 4648 §6), without padding."""
    return b32encode(secret).decode("ascii").rstrip("=")


def uri(secret: bytes, issuer: str, name: str) -> str:
    """The otpauth URI that an app reads from a QR code."""
    label = f"{quote(issuer, safe='')}:{quote(name, safe='@')}"
    values = f"secret={base32(secret)}&issuer={quote(issuer, safe='')}"
    return f"otpauth://totp/{label}?{values}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
