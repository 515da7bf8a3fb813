"""Access control lists: which rights somebody has on a mailbox of another (RFC 4314).

The owner has all rights on his own mailboxes, whatever is written (decision 0042), so no row is ever looked for there.
For everybody else the rights are what the list gives to the own address and to `anyone`, less what it takes from the
two by their negative forms `-address` and `-anyone` (RFC 4314 §2).
"""

from collections.abc import Iterable
from functools import lru_cache

from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.ids import AccountId, MailboxId
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.store.accounts import fold, known_as
from posthouse.store.flags import FlagChange, Mode
from posthouse.store.mailboxes import Box, lock, next_modseq
from posthouse.store.script import NotFound, OverQuota, Refused, Script, sql

Rights = frozenset[str]

LETTERS = "lrswipkxtea"  # in the order of RFC 4314 §2.1
EVERY: Rights = frozenset(LETTERS)
NONE: Rights = frozenset()
ANYONE = "anyone"
NEGATIVE = "-"
REMEMBERED = 1_000  # addresses whose identifiers are not made again: of those who are logged in
ENTRIES = 1_000  # of one mailbox: bounds GETACL, and what a new mailbox below inherits


@lru_cache(REMEMBERED)
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


def restrict(change: FlagChange, given: Rights) -> FlagChange | None:
    """As much of a STORE as somebody with these rights may do; None where that is nothing (RFC 4314 §4)."""
    bits = settable(given)
    if bits == settable(EVERY):
        return change
    if change.mode is Mode.SET:
        words = change.keywords if "w" in given else None
        return change._replace(keywords=words, among=bits) if bits else None
    left = change._replace(bits=change.bits & bits, keywords=change.keywords if "w" in given else ())
    nothing = not left.bits and not left.keywords
    return None if nothing and (change.bits or change.keywords) else left


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


def owner(account: AccountId) -> Script[str]:
    """The identifier of whose account it is. Raises NotFound."""
    rows = yield sql("SELECT fold, domain FROM account WHERE id = $1", account)
    if not rows:
        raise NotFound("there is no such account")
    return str(Address(rows[0][0], Domain(rows[0][1])))


def resolve(text: str, *, must_exist: bool) -> Script[str | None]:
    """An identifier as access control lists have it: `anyone` or a user's address, perhaps negative. None for what is
    neither; a user who is gone is one all the same unless he must exist, so that an entry can be taken away."""
    sign = NEGATIVE if text.startswith(NEGATIVE) else ""
    name = text.removeprefix(NEGATIVE)
    if name.casefold() == ANYONE:
        return sign + ANYONE
    address = parse_address(name)
    if address is None:
        return None
    found = yield from known_as(address)
    if found is None:
        return None if must_exist else sign + identifier(address)
    return sign + identifier(found.address)


def entries(mailbox: MailboxId) -> Script[list[tuple[str, Rights]]]:
    """The whole list of a mailbox, without its owner, sorted by identifier."""
    rows = yield sql("SELECT identifier, rights FROM access WHERE mailbox = $1 ORDER BY identifier", mailbox)
    return [(name, frozenset(letters)) for name, letters in rows]


def put(box: Box, name: str, given: Rights) -> Script[None]:
    """Give an identifier, as resolve() spells it, exactly these rights; none: its entry goes.

    Raises NotFound, Refused (the owner), OverQuota (too many entries)."""
    address = parse_address(name.removeprefix(NEGATIVE))
    found = None if address is None else (yield from known_as(address))
    both = sorted({box.account} if found is None else {box.account, found.account})
    for account in both:
        yield from lock(account)
    if name.removeprefix(NEGATIVE) == (yield from owner(box.account)):
        raise Refused("the owner of a mailbox always has all rights on it")
    for account in both:  # open sessions look at their rights again; the other's may watch nothing of the owner's yet
        yield from next_modseq(account)
    yield sql("DELETE FROM access WHERE mailbox = $1 AND identifier = $2", box.mailbox, name)
    if not given:
        return
    [(count,)] = yield sql("SELECT count(*) FROM access WHERE mailbox = $1", box.mailbox)
    if count >= ENTRIES:
        raise OverQuota(f"the access control list of a mailbox has at most {ENTRIES} entries")
    letters = "".join(sorted(given))
    yield sql("INSERT INTO access (mailbox, identifier, rights) VALUES ($1, $2, $3)", box.mailbox, name, letters)
