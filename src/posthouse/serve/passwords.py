"""Passwords: what is kept of them, and whether one is right (RFC 5803, RFC 4013; decisions 0063, 0103, 0107).

A user's own password is kept as Argon2id and as keys of SCRAM; a device password, which is chance itself, as a digest
and as keys of SCRAM. Nothing here waits or asks the store; what is slow says so and belongs into a thread.
"""

from functools import lru_cache
from hashlib import sha256
from secrets import token_bytes

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from posthouse.mail.address import Address
from posthouse.serve.factor import in_groups
from posthouse.store.accounts import Credential, ScramSecret, canonical
from posthouse.store.devices import Device
from posthouse.wire import sasl, scram
from posthouse.wire.scram import Hash

DEVICE_LETTERS, DEVICE_GROUP = 20, 4  # of a device password: 5 bits each

TOO_LONG = (
    f"The password is too long: {sasl.PASSWORD_LENGTH:,} octets are the most (a letter outside ASCII has several)"
)

# OWASP's second choice: 19 MiB, two passes, one lane.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# The hash of a password nobody has, checked for users who do not exist.
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def password_matches(stored: str, password: bytes) -> bool:
    """Whether the password belongs to the Argon2id hash. About 20 ms and 19 MiB: call it in a thread."""
    try:
        prepared = scram.saslprep(password.decode("utf-8"))
        return prepared is not None and HASHER.verify(stored, prepared)
    except (UnicodeDecodeError, VerificationError, InvalidHashError):
        return False


@lru_cache(4_096)
def outdated(stored: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return HASHER.check_needs_rehash(stored)


def hash_of(password: bytes) -> str:
    """An Argon2id hash of a password that is known to be one. About 20 ms: call it in a thread."""
    return HASHER.hash(scram.saslprep(password.decode("utf-8")) or "")


def device_digest(password: bytes) -> bytes | None:
    """What is kept of a device password: 100 bits of chance need no slow hash. None where it has not the form of one.
    It may be typed in any case, and with or without its hyphens."""
    letters = password.lower().replace(b"-", b"").replace(b" ", b"")
    return sha256(letters).digest() if len(letters) == DEVICE_LETTERS else None


def new_device_password() -> str:
    """100 bits of chance, easy to type."""
    return in_groups(DEVICE_LETTERS, DEVICE_GROUP)


def device_scram(password: str, own: ScramSecret, kind: Hash = Hash.SHA256) -> ScramSecret:
    """The SCRAM keys of a device password, of the same salt as those of the user's own password (decision 0107)."""
    return _secret(password, own.salt, kind, own.iterations)


def first_salt(address: Address, secret: bytes) -> ScramSecret:
    """Keys of nobody, with the salt that SCRAM says of this user of a directory before there is a device password. The
    first one has the same, so that strangers see nothing of its making (decision 0138). `secret` is the server's."""
    keys = scram.fake_keys(canonical(address), secret)
    return ScramSecret(keys.salt, keys.iterations, keys.stored_key, keys.server_key)


def _secret(password: str, salt: bytes, kind: Hash, iterations: int = scram.ITERATIONS) -> ScramSecret:
    keys = scram.derive(password, salt, kind, iterations)
    return ScramSecret(keys.salt, keys.iterations, keys.stored_key, keys.server_key)


def scram_keys(secret: ScramSecret) -> scram.ScramKeys:
    """As the exchange wants them."""
    return scram.ScramKeys(secret.salt, secret.iterations, secret.stored_key, secret.server_key)


def keys_of(device: Device, kind: Hash | None = None) -> list[scram.ScramKeys]:
    """The SCRAM keys of a device password: of one kind, or all."""
    secrets = {Hash.SHA256: device.scram, Hash.SHA1: device.scram_sha1}
    return [scram_keys(one) for each, one in secrets.items() if one is not None and kind in (None, each)]


def make_credential(password: str, salt: bytes | None = None) -> Credential:
    """What is kept of a new password: an Argon2id hash and the keys of SCRAM (RFC 5803). About 30 ms. `salt` is
    that of the keys before, so that those of the user's device passwords stay good (decision 0107).

    Passwords are prepared by SASLprep, so that PLAIN and SCRAM agree (RFC 4013). Raises ValueError, with a sentence for
    the user, where that forbids a character, or the length is not 1 to PASSWORD_LENGTH octets.
    """
    if len(password) > sasl.PASSWORD_LENGTH:  # SASLprep takes no longer one
        raise ValueError(TOO_LONG)
    prepared = scram.saslprep(password)
    if prepared is None:
        raise ValueError("The password holds a control character or another one that no mail program can send")
    if not prepared:
        raise ValueError("The password is empty")
    if len(prepared.encode("utf-8")) > sasl.PASSWORD_LENGTH:
        raise ValueError(TOO_LONG)
    salt = salt or token_bytes(scram.SALT_LENGTH)
    return Credential(HASHER.hash(prepared), _secret(password, salt, Hash.SHA256), _secret(password, salt, Hash.SHA1))
