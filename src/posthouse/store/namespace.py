"""How the names of others' mailboxes begin (RFC 2342 §5, decision 0042)."""

from posthouse.mail.address import Address
from posthouse.store.mailboxes import SEPARATOR

OTHERS = "Other Users"  # the namespace prefix, without its separator


def is_foreign(name: str) -> bool:
    """Whether the name lies in the namespace of other users' mailboxes."""
    return name == OTHERS or name.startswith(OTHERS + SEPARATOR)


def prefix_of(address: Address) -> str:
    """What stands before the names of this user's mailboxes for everybody else. A "/" in an address would divide it."""
    spelled = str(address).replace("=", "=3D").replace(SEPARATOR, "=2F")
    return f"{OTHERS}{SEPARATOR}{spelled}{SEPARATOR}"
