"""What CONDSTORE and QRESYNC add to commands: parameters of SELECT, modifiers of FETCH and STORE, the search key MODSEQ
(RFC 7162 §7, in the grammar of RFC 4466 §2).

Mod-sequence 0 is taken everywhere: some clients send it for "I know nothing yet" where the grammar begins at 1.
Unknown parameters and modifiers are refused with BAD (RFC 4466 §2.1). It does not know whether QRESYNC is enabled, nor
which messages there are.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.number_set import LARGEST, NumberSpan
from posthouse.wire.imap.partial import PartialRange, parse_partial

Member = TypeVar("Member")

# RFC 7162 §7   entry-type-req = "priv" / "shared" / "all"
_ENTRY_TYPES = (b"PRIV", b"SHARED", b"ALL")
# RFC 4466 §2.4: modifiers stand behind the items, which never end in parentheses behind a space
_FETCH_MODIFIERS = re.compile(rb" \((?!LAZY[ )])[^()\[\]]*\)\Z", re.IGNORECASE)  # PREVIEW (LAZY) is an item


@dataclass(frozen=True, slots=True)
class Resync:
    """The QRESYNC parameter (RFC 7162 §3.2.5): what the client knows. `known`: only these UIDs matter, None: all.
    `numbers` and `uids`: messages for which it knows both, the n-th of one is the n-th of the other."""

    uidvalidity: int
    modseq: int
    known: tuple[NumberSpan, ...] | None = None
    numbers: tuple[NumberSpan, ...] = ()
    uids: tuple[NumberSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class SelectParameters:
    """The parameters of SELECT and EXAMINE (RFC 4466 §2.2)."""

    condstore: bool = False
    resync: Resync | None = None


NO_PARAMETERS = SelectParameters()


@dataclass(frozen=True, slots=True)
class FetchModifiers:
    """The modifiers of FETCH (RFC 4466 §2.4): CHANGEDSINCE and VANISHED (RFC 7162 §3.1.4.1, §3.2.6), PARTIAL
    (RFC 9394 §3.3)."""

    changed_since: int | None = None
    vanished: bool = False
    partial: PartialRange | None = None


NO_MODIFIERS = FetchModifiers()


@dataclass(frozen=True, slots=True)
class Modified:
    """The search key MODSEQ: the mod-sequence is this or higher (RFC 7162 §3.1.5). All flags of a message have one
    mod-sequence here, so entry name and type are passed over."""

    modseq: int


def select_parameters(scanner: Scanner) -> SelectParameters:
    """The list behind the mailbox of SELECT, if there is one (RFC 4466 §2.2)."""
    condstore, resync = False, None
    for parameter in _list(scanner, _select_parameter):
        if isinstance(parameter, Resync):
            if resync is not None:
                raise Fault("QRESYNC stands twice among the parameters.")
            resync = parameter
        condstore = True
    return SelectParameters(condstore, resync)


def _list(scanner: Scanner, member: Callable[[Scanner], Member]) -> list[Member]:
    if scanner.octets[scanner.position : scanner.position + 2] != b" (":
        return []
    scanner.space()
    return scanner.parenthesized(member)


def _select_parameter(scanner: Scanner) -> Resync | None:
    word = scanner.word()
    if word == b"CONDSTORE":
        return None
    if word != b"QRESYNC":
        raise Fault(f"SELECT knows no parameter {word.decode('ascii')}.")
    scanner.space()
    return _resync(scanner)


def _resync(scanner: Scanner) -> Resync:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")" (RFC 7162 §7)."""
    scanner.mark(b"(")
    uidvalidity = scanner.number(LARGEST)
    scanner.space()
    modseq = scanner.number()
    known: tuple[NumberSpan, ...] | None = None
    numbers: tuple[NumberSpan, ...] = ()
    uids: tuple[NumberSpan, ...] = ()
    if not scanner.take(b")"):
        scanner.space()
        if scanner.peek() != ord("("):
            known = _definite(scanner)
            if scanner.take(b")"):
                return Resync(uidvalidity, modseq, known)
            scanner.space()
        scanner.mark(b"(")
        numbers = _definite(scanner)
        scanner.space()
        uids = _definite(scanner)
        scanner.mark(b")")
        scanner.mark(b")")
    return Resync(uidvalidity, modseq, known, numbers, uids)


def _definite(scanner: Scanner) -> tuple[NumberSpan, ...]:
    """A sequence-set in which `*` and `$` are not allowed (RFC 7162 §7, known-uids)."""
    numbers = scanner.sequence_set()
    if numbers.star or numbers.saved:
        raise Fault("Neither * nor $ may stand among the numbers that QRESYNC names.")
    return numbers.spans


def split_fetch_modifiers(octets: bytes) -> tuple[bytes, FetchModifiers]:
    """The items of a FETCH, and the modifiers that stood behind them (RFC 4466 §2.4)."""
    found = _FETCH_MODIFIERS.search(octets)
    if found is None:
        return octets, NO_MODIFIERS
    return octets[: found.start()], _fetch_modifiers(Scanner(octets, found.start()))


def _fetch_modifiers(scanner: Scanner) -> FetchModifiers:
    found = FetchModifiers()
    names: set[bytes] = set()
    for name, one in _list(scanner, _fetch_modifier):
        if name in names:
            raise Fault(f"{name.decode('ascii')} stands twice among the modifiers.")
        names.add(name)
        found = FetchModifiers(
            found.changed_since if one.changed_since is None else one.changed_since,
            found.vanished or one.vanished,
            found.partial or one.partial,
        )
    scanner.end()
    if found.vanished and found.changed_since is None:
        raise Fault("VANISHED needs CHANGEDSINCE beside it.")
    return found


def _fetch_modifier(scanner: Scanner) -> tuple[bytes, FetchModifiers]:
    word = scanner.word()
    if word == b"VANISHED":
        return word, FetchModifiers(vanished=True)
    if word == b"CHANGEDSINCE":
        scanner.space()
        return word, FetchModifiers(scanner.number())
    if word == b"PARTIAL":
        scanner.space()
        return word, FetchModifiers(partial=parse_partial(scanner))
    raise Fault(f"FETCH knows no modifier {word.decode('ascii')}.")


def store_modifiers(scanner: Scanner) -> int | None:
    """UNCHANGEDSINCE of STORE (RFC 7162 §3.1.3), None where no modifier stands there."""
    found = _list(scanner, _store_modifier)
    if len(found) > 1:
        raise Fault("UNCHANGEDSINCE stands twice among the modifiers.")
    return found[0] if found else None


def _store_modifier(scanner: Scanner) -> int:
    word = scanner.word()
    if word != b"UNCHANGEDSINCE":
        raise Fault(f"STORE knows no modifier {word.decode('ascii')}.")
    scanner.space()
    return scanner.number()


def search_modseq(scanner: Scanner) -> Modified:
    """search-modsequence behind its name: [entry-name SP entry-type-req SP] mod-sequence-valzer (RFC 7162 §7)."""
    if scanner.peek() == ord('"'):
        entry = scanner.quoted()
        if entry[:7].lower() != b"/flags/":
            raise Fault("The name of an entry of MODSEQ begins with /flags/.")
        scanner.space()
        if scanner.word() not in _ENTRY_TYPES:
            raise Fault("The type of an entry of MODSEQ is priv, shared or all.")
        scanner.space()
    return Modified(scanner.number())
