"""FILTER: search programs that are kept on the server under a name (RFC 5466).

A filter is the server annotation /private/filters/values/NAME, or the /shared one of that name. It takes the place of
the key before the search begins, filters in filters too, within bounds; a loop ends as a filter that does not exist.
"""

from collections.abc import Mapping
from dataclasses import replace

from posthouse.serve.imap.state import Session
from posthouse.store import annotations
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Command
from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import StatusResponse, no
from posthouse.wire.imap.search import And, Fuzzy, Not, OfFilter, Or, Search, SearchKey, parse_program
from posthouse.wire.imap.sort import Sort, Thread

PASSES = 5  # filters inside each other; RFC 5466 §3.1 asks for 3
SUBSTITUTIONS = 50  # in one command: filters may name others several times over
NO_SUCH_FILTER = "There is no filter of that name."
NO_PROGRAM = "What is kept under that name is no search program."
LOOP = "This filter leads back to itself through the filters it names."
TOO_DEEP = f"Filters may name others at most {PASSES} deep."
TOO_MANY = f"One search may take at most {SUBSTITUTIONS} filters, those in filters counted too."
_ROOTS = ("/private/filters/values/", "/shared/filters/values/")

Searching = Search | Sort | Thread | MultiSearch


class UndefinedFilter(Exception):
    """There is no such filter, or it is no search program, or it leads back to itself (RFC 5466 §3.1); `text` says
    which."""

    def __init__(self, name: str, text: str = NO_SUCH_FILTER) -> None:
        super().__init__(name)
        self.name = name
        self.text = text


def undefined(session: Session, command: Command, error: UndefinedFilter) -> StatusResponse:
    """The answer to a filter that is none; NO leaves nothing in the variable of SAVE (RFC 9051 §6.4.4.1)."""
    if (
        isinstance(command, Search | Sort | MultiSearch)
        and session.selecting
        and command.returns is not None
        and command.returns.saving
    ):
        session.selected.saved = ()
    return no(command.tag, error.text, code.undefined_filter(error.name))


def fault_of(entry: str, value: bytes | None) -> str:
    """What is wrong with a value kept as a filter; "" where it is none or right (RFC 5466 §3.2)."""
    if value is None or not entry.lower().startswith(_ROOTS):
        return ""
    try:
        _parsed(value)
    except Fault as fault:
        return fault.text
    return ""


def _parsed(value: bytes) -> SearchKey:
    scanner = Scanner(value, utf8=True)
    key = parse_program(scanner, "utf-8")
    scanner.end()
    return key


async def expanded(session: Session, command: Searching) -> Searching:
    """The command with its filters in place. Raises UndefinedFilter, StoreError."""
    key: SearchKey = command.key
    named: dict[str, set[str]] = {}  # by each filter, those it names itself
    taken = 0
    for _ in range(PASSES):
        names = sorted(set(_names(key)))
        if not names:
            break
        found = {name: await _value(session, name) for name in names}
        named |= {name: set(_names(value)) for name, value in found.items()}
        taken += sum(1 for _ in _names(key))
        if taken > SUBSTITUTIONS:
            raise UndefinedFilter(names[0], LOOP if _leads_back(names[0], named) else TOO_MANY)
        key = _put(key, found)
    left = next(iter(_names(key)), None)
    if left is not None:
        raise UndefinedFilter(left, LOOP if _leads_back(left, named) else TOO_DEEP)
    return command if key is command.key else replace(command, key=key)


def _leads_back(name: str, named: Mapping[str, set[str]]) -> bool:
    """Whether a filter is among those that it names, or that these name."""
    reached: set[str] = set()
    ahead = named.get(name, set())
    while ahead:
        reached |= ahead
        ahead = {one for filter_ in ahead for one in named.get(filter_, ())} - reached
    return name in reached


def _names(key: SearchKey) -> list[str]:
    match key:
        case OfFilter(name):
            return [name]
        case Not(inner) | Fuzzy(inner):
            return _names(inner)
        case Or(first, second):
            return _names(first) + _names(second)
        case And(keys):
            return [name for one in keys for name in _names(one)]
    return []


def _put(key: SearchKey, found: dict[str, SearchKey]) -> SearchKey:
    match key:
        case OfFilter(name):
            return found[name]
        case Fuzzy(inner):
            return Fuzzy(_put(inner, found))
        case Not(inner):
            return Not(_put(inner, found))
        case Or(first, second):
            return Or(_put(first, found), _put(second, found))
        case And(keys):
            return And(tuple(_put(one, found) for one in keys))
    return key


async def _value(session: Session, name: str) -> SearchKey:
    asked = [root + name for root in _ROOTS]
    values = (await session.store.read(annotations.read, session.reader, "", asked, 0)).values
    value = next((value for _, value in values if value is not None), None)
    if value is None:
        raise UndefinedFilter(name)
    try:
        return _parsed(value)
    except Fault:
        raise UndefinedFilter(name, NO_PROGRAM) from None
