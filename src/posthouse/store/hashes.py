"""Password hashes that other programs have made: whether a password belongs to one.

{SHA}, {SSHA} and their longer relatives (RFC 2307 §5.3 and OpenLDAP's), Argon2 in PHC form, bcrypt, sha256-crypt and
sha512-crypt, each also behind a prefix as Dovecot writes it. What takes more work than a sign-in may is refused:
a row of a table can say any number of rounds.
"""

import base64
import binascii
import hashlib
import hmac
import re

from posthouse.net.directory import NoAnswer

INSTALL = "pip install 'posthouse[hashes]'"
HASH_LENGTH = 1_024  # characters
ARGON2_MEMORY = 256 * 1024  # KiB
ARGON2_WORK = 1_536 * 1024  # KiB times passes: about a second
CRYPT_ROUNDS = 1_000_000  # of sha512-crypt: about a second
BCRYPT_COST = 14  # about a second
BCRYPT_PASSWORD = 72  # octets; bcrypt has never looked at more

_DIGESTS = {"SHA": "sha1", "SSHA": "sha1", "SHA256": "sha256", "SSHA256": "sha256", "SHA512": "sha512"}
_DIGESTS |= {"SSHA512": "sha512"}
_PREFIX = re.compile(r"\{([A-Za-z0-9-]+)\}")
_ARGON2 = re.compile(r"\$argon2(?:id|i|d)\$v=\d+\$m=(\d{1,9}),t=(\d{1,4}),p=\d{1,3}\$")
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}\Z")
_CRYPT = re.compile(r"\$([56])\$(?:rounds=(\d{1,9})\$)?[^$:\n]{0,16}\$[./A-Za-z0-9]{43,86}\Z")


def belongs(password: str, stored: str) -> bool:
    """Whether the password has this hash. Slow, as hashes are. Raises NoAnswer for a form that is not known, or takes
    too much work, or needs a package that is not there."""
    if not password or not stored or stored[0] in "!*":  # locked, as in /etc/shadow
        return False
    if len(stored) > HASH_LENGTH:
        raise NoAnswer("a password hash in the directory is too long")
    prefix = _PREFIX.match(stored)
    if prefix is not None and prefix[1].upper() in _DIGESTS:
        return _digest(password, _DIGESTS[prefix[1].upper()], stored[prefix.end() :])
    rest = stored[prefix.end() :] if prefix is not None else stored
    for form, check in ((_ARGON2, _argon2), (_BCRYPT, _bcrypt), (_CRYPT, _crypt)):
        found = form.match(rest)
        if found is not None:
            return check(password, rest, found)
    raise NoAnswer("a password hash in the directory is of a form that is not known here")


def _digest(password: str, name: str, text: str) -> bool:
    """RFC 2307 §5.3: base64 of the digest, and of a salt behind it."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoAnswer("a password hash in the directory is no base64") from None
    size = hashlib.new(name, usedforsecurity=False).digest_size
    if len(octets) < size:
        raise NoAnswer("a password hash in the directory is too short")
    digest = hashlib.new(name, password.encode("utf-8") + octets[size:], usedforsecurity=False).digest()
    return hmac.compare_digest(digest, octets[:size])


def _argon2(password: str, stored: str, found: re.Match[str]) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import VerificationError

    memory, passes = int(found[1]), int(found[2])
    if memory > ARGON2_MEMORY or memory * passes > ARGON2_WORK:
        raise NoAnswer("a password hash in the directory takes too much work")
    try:
        return PasswordHasher().verify(stored, password)
    except (VerificationError, ValueError):  # also of a hash that is no ASCII
        return False


def _bcrypt(password: str, stored: str, found: re.Match[str]) -> bool:
    if int(found[1]) > BCRYPT_COST:
        raise NoAnswer("a password hash in the directory takes too much work")
    try:
        import bcrypt
    except ImportError:
        raise NoAnswer(f"bcrypt hashes want a package that is not installed: {INSTALL}") from None
    try:
        return bcrypt.checkpw(password.encode("utf-8")[:BCRYPT_PASSWORD], stored.encode("ascii"))
    except ValueError:  # a NUL, or a salt that is none
        return False


def _crypt(password: str, stored: str, found: re.Match[str]) -> bool:
    if int(found[2] or 5_000) > CRYPT_ROUNDS:
        raise NoAnswer("a password hash in the directory takes too much work")
    try:
        from passlib.hash import sha256_crypt, sha512_crypt
    except ImportError:
        raise NoAnswer(f"crypt hashes want a package that is not installed: {INSTALL}") from None
    scheme = sha512_crypt if found[1] == "6" else sha256_crypt
    try:
        return bool(scheme.verify(password, stored))
    except (ValueError, TypeError):  # a NUL, or rounds below what there is
        return False
