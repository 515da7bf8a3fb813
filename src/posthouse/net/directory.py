"""A directory of users that is kept elsewhere: what it may be asked, and how a name is put into the question.

A Source answers two questions, in a thread: whom an address belongs to, and whether a password is that user's.
`NoAnswer` is neither a yes nor a no: the directory is down, slow, or says what cannot be meant. It does NOT ask
anybody: `net/ldap.py` and `store/userview.py` do, the latter in a Table.
"""

import re
from typing import NamedTuple, Protocol

from posthouse.mail.address import Address, quote_local

PLACES = ("address", "local", "domain")  # what stands in braces in a template, and behind a colon in a query
FOUND = 2  # users asked for: one is the user, two are a mistake in the directory or in the question

_PLACE = re.compile(r"\{(\w+)\}")
_PLAIN = re.compile(r"[A-Za-z0-9]")


class NoAnswer(Exception):
    """The directory cannot be asked now; the text says why."""


class Person(NamedTuple):
    """A user, as a directory has one. `own`: the user's addresses; none: the one that was asked for. `locked`: mail
    still comes, and nobody comes in."""

    own: tuple[str, ...]
    locked: bool = False


class Source(Protocol):
    """A directory. Both questions wait for the network or a disk, so they are asked in a thread."""

    def find(self, address: Address) -> Person | None:
        """The user of this address. None where there is no such user. Raises NoAnswer."""

    def prove(self, address: Address, password: str) -> Person | None:
        """The same where the password is that user's, who may come in, otherwise None. An empty password proves
        nothing. Raises NoAnswer."""

    def close(self) -> None:
        """Give back what is kept open. Nothing is asked any more."""


Row = tuple[object, ...]


class Table(Protocol):
    """A database and a query that has PLACES. Its str() says where it is, without a password."""

    def rows(self, named: dict[str, str]) -> list[Row]:
        """What the query gives for these places, two rows at most. Waits. Raises NoAnswer."""

    def close(self) -> None:
        """Give back what is kept open."""


def wrong_width(columns: int) -> str:
    """What is wrong with a query of so many columns; "": nothing."""
    plural = "" if columns == 1 else "s"
    return (
        "" if 2 <= columns <= 3 else f"the query gives {columns} column{plural}: address, hash and enabled are wanted"
    )


def unknown_places(template: str) -> list[str]:
    """What stands in braces and is none of PLACES."""
    return [name for name in _PLACE.findall(template) if name not in PLACES]


def places(address: Address) -> dict[str, str]:
    """What the places of a template stand for."""
    local = quote_local(address.local)
    return {"address": f"{local}@{address.domain}", "local": address.local, "domain": address.domain.name}


def filled(template: str, address: Address) -> str:
    """A filter or a distinguished name for this address, in which the name can be nothing but a name."""
    named = places(address)
    return _PLACE.sub(lambda place: escaped(named[place[1]]), template)


def escaped(text: str) -> str:
    """The text as a value in a filter (RFC 4515 §3) and in a distinguished name (RFC 4514 §2.4): every octet that is no
    letter or digit by its number, which both forms allow, so that no list of special characters can be too short."""
    return "".join(c if _PLAIN.match(c) else "".join(f"\\{octet:02x}" for octet in c.encode("utf-8")) for c in text)
