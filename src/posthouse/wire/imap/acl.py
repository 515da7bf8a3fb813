"""Access control lists: SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS, and their responses (RFC 4314 §3, §7).

The virtual rights of RFC 4314 §2.1.1 are undone here: "c" stands for "k" and "x", "d" for "e" and "t" when a client
says them, and both are said to the client beside the rights they stand for. An identifier is text prepared by
SASLprep (RFC 4013); whose it is, and what a right permits, is not known here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.response import Printed, print_astring, print_mailbox, print_string
from posthouse.wire.scram import saslprep

RIGHTS = "lrswipkxtea"  # RFC 4314 §2.1, in this order wherever they are printed
VIRTUAL = {"c": "kx", "d": "et"}  # RFC 4314 §2.1.1
IDENTIFIER_LENGTH = 320  # characters: a path of RFC 5321 §4.5.3.1.3 has at most 256 octets


@dataclass(frozen=True, slots=True)
class RightsChange:
    """mod-rights (RFC 4314 §7): `sign` is "+" to add, "-" to remove, "" to replace."""

    sign: str
    rights: frozenset[str]

    def of(self, present: frozenset[str]) -> frozenset[str]:
        """What becomes of the rights that are there."""
        if self.sign == "+":
            return present | self.rights
        return present - self.rights if self.sign == "-" else self.rights


@dataclass(frozen=True, slots=True)
class SetAcl:
    """SETACL (RFC 4314 §3.1)."""

    tag: bytes
    mailbox: str
    identifier: str
    change: RightsChange


@dataclass(frozen=True, slots=True)
class DeleteAcl:
    """DELETEACL (RFC 4314 §3.2)."""

    tag: bytes
    mailbox: str
    identifier: str


@dataclass(frozen=True, slots=True)
class GetAcl:
    """GETACL (RFC 4314 §3.3)."""

    tag: bytes
    mailbox: str


@dataclass(frozen=True, slots=True)
class ListRights:
    """LISTRIGHTS (RFC 4314 §3.4). `spelled`: the identifier as the client gave it, which the answer repeats."""

    tag: bytes
    mailbox: str
    identifier: str
    spelled: bytes


@dataclass(frozen=True, slots=True)
class MyRights:
    """MYRIGHTS (RFC 4314 §3.5)."""

    tag: bytes
    mailbox: str


AclCommand = SetAcl | DeleteAcl | GetAcl | ListRights | MyRights


def parse_set_acl(tag: bytes, scanner: Scanner) -> SetAcl:
    """What follows `SETACL` (RFC 4314 §7)."""
    mailbox, (identifier, _) = _mailbox(scanner), _identifier(scanner)
    scanner.space()
    return SetAcl(tag, mailbox, identifier, rights_change(scanner.astring()))


def parse_delete_acl(tag: bytes, scanner: Scanner) -> DeleteAcl:
    """What follows `DELETEACL` (RFC 4314 §7)."""
    return DeleteAcl(tag, _mailbox(scanner), _identifier(scanner)[0])


def parse_get_acl(tag: bytes, scanner: Scanner) -> GetAcl:
    """What follows `GETACL` (RFC 4314 §7)."""
    return GetAcl(tag, _mailbox(scanner))


def parse_list_rights(tag: bytes, scanner: Scanner) -> ListRights:
    """What follows `LISTRIGHTS` (RFC 4314 §7)."""
    return ListRights(tag, _mailbox(scanner), *_identifier(scanner))


def parse_my_rights(tag: bytes, scanner: Scanner) -> MyRights:
    """What follows `MYRIGHTS` (RFC 4314 §7)."""
    return MyRights(tag, _mailbox(scanner))


def _mailbox(scanner: Scanner) -> str:
    scanner.space()
    return scanner.mailbox()


def _identifier(scanner: Scanner) -> tuple[str, bytes]:
    """identifier = astring, prepared (RFC 4314 §3): the text, and the octets as they came."""
    scanner.space()
    octets = scanner.astring()
    if len(octets) > 4 * IDENTIFIER_LENGTH:
        raise over_limit(f"An identifier may have at most {IDENTIFIER_LENGTH} characters.")
    try:
        prepared = saslprep(octets.decode("utf-8"))
    except UnicodeDecodeError:
        prepared = None
    if not prepared:
        raise Fault("An identifier is an address or the word anyone, in UTF-8, perhaps behind a minus sign.")
    if len(prepared) > IDENTIFIER_LENGTH:
        raise over_limit(f"An identifier may have at most {IDENTIFIER_LENGTH} characters.")
    return prepared, octets


def rights_change(octets: bytes) -> RightsChange:
    """mod-rights (RFC 4314 §3.1, §7). Raises Fault for what is no right here."""
    text = octets.decode("latin-1")
    sign = text[:1] if text[:1] in ("+", "-") else ""
    found: set[str] = set()
    for letter in text[len(sign) :]:
        if letter.isupper():
            raise Fault("Rights are lower-case letters.")
        if letter not in RIGHTS and letter not in VIRTUAL:
            shown = letter if letter.isalnum() and letter.isascii() else "of that sign"
            raise Fault(f"There is no right {shown}; there are {RIGHTS}, and c and d of older clients.")
        found.update(VIRTUAL.get(letter, letter))
    return RightsChange(sign, frozenset(found))


def spell_rights(rights: frozenset[str]) -> str:
    """Rights with the virtual ones beside those they stand for (RFC 4314 §2.1.1)."""
    virtual = [letter for letter, members in VIRTUAL.items() if not rights.isdisjoint(members)]
    return "".join([letter for letter in RIGHTS if letter in rights] + virtual)


def _rights(rights: frozenset[str]) -> bytes:
    return print_astring(spell_rights(rights).encode("ascii"))


def print_acl(mailbox: str, entries: Iterable[tuple[str, frozenset[str]]], utf8: bool = False) -> Printed:
    """ACL (RFC 4314 §3.6)."""
    pairs = [print_astring(identifier.encode("utf-8"), utf8) + b" " + _rights(rights) for identifier, rights in entries]
    return Printed(b" ".join([b"* ACL", print_mailbox(mailbox, utf8), *pairs]) + b"\r\n")


def print_list_rights(command: ListRights, required: str, optional: Sequence[str], utf8: bool = False) -> Printed:
    """LISTRIGHTS (RFC 4314 §3.7): the rights that are always there, and those that may be given each by itself."""
    words = [
        b"* LISTRIGHTS",
        print_mailbox(command.mailbox, utf8),
        print_astring(command.spelled, utf8),
        required.encode("ascii") if required else print_string(b""),
        *(rights.encode("ascii") for rights in optional),
    ]
    return Printed(b" ".join(words) + b"\r\n")


@dataclass(frozen=True, slots=True)
class MyRightsResponse:
    """MYRIGHTS (RFC 4314 §3.8)."""

    mailbox: str
    rights: frozenset[str]

    def printed(self, utf8: bool = False) -> Printed:
        """The octets of the response."""
        return Printed(b"* MYRIGHTS %b %b\r\n" % (print_mailbox(self.mailbox, utf8), _rights(self.rights)))
