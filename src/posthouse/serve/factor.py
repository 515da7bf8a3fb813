"""The second factor: whether what a person typed is their code of this moment, or one of those for who lost the device
(RFC 6238 §5.2).

Each code opens once, over all workers. The mail protocols do not ask for it: the administrator's pages to come will.
"""

from hashlib import sha256
from secrets import choice, token_bytes

from posthouse.mail.ids import AccountId, Millis
from posthouse.store import totp as kept
from posthouse.store.store import Store
from posthouse.trust import totp

LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 of them: 5 bits each; no l, o, 0, 1, which look like others
RECOVERY_CODES = 8
RECOVERY_LETTERS = 10  # 50 bits, each code good once, and every failure slow
GROUP = 5  # letters of a recovery code between two hyphens
TYPED_LENGTH = 100  # characters that are looked at


def new_secret() -> bytes:
    """A secret for an app."""
    return token_bytes(totp.SECRET_LENGTH)


def new_recovery_codes() -> tuple[str, ...]:
    """Codes to be written down."""
    return tuple(in_groups(RECOVERY_LETTERS, GROUP) for _ in range(RECOVERY_CODES))


def in_groups(letters: int, group: int) -> str:
    """Chance that is easy to type: `letters` of LETTERS, with a hyphen between groups."""
    text = "".join(choice(LETTERS) for _ in range(letters))
    return "-".join(text[first : first + group] for first in range(0, letters, group))


def recovery_digest(code: str) -> bytes:
    """What is kept of a recovery code, however it is typed."""
    return sha256("".join(c for c in code.lower() if c in LETTERS).encode("ascii")).digest()


async def confirm(store: Store, account: AccountId, typed: str, now: Millis) -> bool:
    """Whether the second factor of the user is proved; the code is used up. True where the user has none. Raises
    Unavailable."""
    factor = await store.read(kept.find, account)
    if factor is None:
        return True
    typed = typed[:TYPED_LENGTH]
    step = totp.verify(factor.secret, typed, now // 1000, factor.step)
    if step is not None:
        return await store.run(kept.spend, account, step)
    return await store.run(kept.spend_recovery, account, recovery_digest(typed))
