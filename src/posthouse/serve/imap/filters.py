"""FILTER: search programs that are kept on the server under a name (RFC 5466).

A filter is the server annotation /private/filters/values/NAME, or the /shared one of that name. It takes the place of
the key before the search begins, filters in filters too, within bounds; a loop ends as a filter that does not exist.
"""

from dataclasses import replace

from posthouse.serve.imap.state import Session
from posthouse.store import annotations
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Command
from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import StatusResponse, no
from posthouse.wire.imap.search import And, Not, OfFilter, Or, Search, SearchKey, parse_program
from posthouse.wire.imap.sort import Sort, Thread

PASSES = 5  # filters inside each other; RFC 5466 §3.1 asks for 3
SUBSTITUTIONS = 50  # in one command: filters may name others several times over
_ROOTS = ("/private/filters/values/", "/shared/filters/values/")

Searching = Search | Sort | Thread | MultiSearch


class UndefinedFilter(Exception):
    """There is no such filter, or it is no search program, or it leads back to itself (RFC 5466 §3.1)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def undefined(session: Session, command: Command, name: str) -> StatusResponse:
    """The answer to a filter that is none; NO leaves nothing in the variable of SAVE (RFC 9051 §6.4.4.1)."""
    if (
        isinstance(command, Search | Sort | MultiSearch)
        and session.selecting
        and command.returns is not None
        and command.returns.saving
    ):
        session.selected.saved = ()
    return no(command.tag, "There is no filter of that name.", code.undefined_filter(name))


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
    taken = 0
    for _ in range(PASSES):
        names = sorted(set(_names(key)))
        if not names:
            break
        found = {name: await _value(session, name) for name in names}
        taken += sum(1 for _ in _names(key))
        if taken > SUBSTITUTIONS:
            raise UndefinedFilter(names[0])
        key = _put(key, found)
    left = next(iter(_names(key)), None)
    if left is not None:
        raise UndefinedFilter(left)
    return command if key is command.key else replace(command, key=key)


def _names(key: SearchKey) -> list[str]:
    match key:
        case OfFilter(name):
            return [name]
        case Not(inner):
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
        raise UndefinedFilter(name) from None
