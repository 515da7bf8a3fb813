"""Access control lists: which rights somebody has on a mailbox of another (RFC 4314).

The owner has all rights on his own mailboxes, whatever is written (decision 0042), so no row is ever looked for there.
For everybody else the rights are what the list gives to the own address and to `anyone`, less what it takes from the
two by their negative forms `-address` and `-anyone` (RFC 4314 §2).
"""

from collections.abc import Iterable

from posthouse.mail.address import Address
from posthouse.mail.ids import MailboxId
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.store.accounts import fold
from posthouse.store.script import Script, sql

Rights = frozenset[str]

LETTERS = "lrswipkxtea"  # in the order of RFC 4314 §2.1
EVERY: Rights = frozenset(LETTERS)
NONE: Rights = frozenset()
ANYONE = "anyone"
NEGATIVE = "-"


def identifier(address: Address) -> str:
    """The address as access control lists have it."""
    return str(Address(fold(address.local), address.domain))


def combined(entries: Iterable[tuple[str, str]]) -> Rights:
    """The rights that entries of identifier and letters give together, negative ones taken away (RFC 4314 §2)."""
    given: set[str] = set()
    taken: set[str] = set()
    for name, letters in entries:
        (taken if name.startswith(NEGATIVE) else given).update(letters)
    return frozenset(given - taken)


def settable(given: Rights) -> int:
    """The bits of flags that somebody with these rights may change (RFC 4314 §4): \\Seen by "s", \\Deleted by "t", all
    others, and keywords too, by "w"."""
    bits = ~(SEEN_BIT | DELETED_BIT) if "w" in given else 0
    bits |= SEEN_BIT if "s" in given else 0
    return bits | (DELETED_BIT if "t" in given else 0)


def names_of(who: str) -> tuple[str, str, str, str]:
    """The identifiers that speak of this user."""
    return who, ANYONE, NEGATIVE + who, NEGATIVE + ANYONE


def rights(mailbox: MailboxId, who: str) -> Script[Rights]:
    """What this user, who is not the owner, may do with the mailbox."""
    rows = yield sql(
        "SELECT identifier, rights FROM access WHERE mailbox = $1 AND identifier IN ($2, $3, $4, $5)",
        mailbox, *names_of(who),
    )  # fmt: skip
    return combined((name, letters) for name, letters in rows)
