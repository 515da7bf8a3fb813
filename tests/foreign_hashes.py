"""Password hashes as other programs write them, all of the password "secret"."""

import base64
import hashlib

import argon2
import bcrypt
from passlib.hash import sha256_crypt, sha512_crypt


def digest(name: str, scheme: str, salt: bytes = b"salt") -> str:
    """RFC 2307 §5.3."""
    octets = hashlib.new(name, b"secret" + salt).digest() + salt
    return f"{{{scheme}}}{base64.b64encode(octets).decode()}"


def foreign() -> list[str]:
    """One of each form, all of the password "secret"."""
    made = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    return [
        digest("sha1", "SHA", b""),
        digest("sha1", "SSHA"),
        digest("sha256", "SSHA256", b"a long salt of its own"),
        digest("sha512", "SSHA512"),
        made,
        made.replace("$2b$", "$2y$"),
        "{BLF-CRYPT}" + made,
        argon2.PasswordHasher(1, 8, 1).hash("secret"),
        "{ARGON2ID}" + argon2.PasswordHasher(1, 8, 1).hash("secret"),
        sha512_crypt.using(rounds=1_000).hash("secret"),
        "{CRYPT}" + sha512_crypt.using(rounds=5_000).hash("secret"),
        sha256_crypt.using(rounds=1_000).hash("secret"),
    ]
