"""ESEARCH (RFC 7377): one search of several mailboxes, selected or not.

The mailboxes are searched one after the other, so that what is held at once is what one SEARCH holds. Those that the
user may not read, that cannot be selected or that vanish meanwhile are passed over without a word (RFC 7377 §2.2).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from posthouse.serve.imap import condstore, contexts
from posthouse.serve.imap.context import Wanted
from posthouse.serve.imap.fuzzy import scores, wanted
from posthouse.serve.imap.question import Question, matching, unselected
from posthouse.serve.imap.search import asked, highest_modseq
from posthouse.serve.imap.search_return import extended, kept, relevancy_of
from posthouse.serve.imap.state import Session
from posthouse.store import mailboxes, names
from posthouse.store.mailboxes import INBOX, SEPARATOR, Box, MailboxRow, canonical_name
from posthouse.store.names import Reader
from posthouse.store.script import NotFound, Script, StoreError
from posthouse.wire.imap import code
from posthouse.wire.imap.multisearch import MultiSearch, Scope, Source
from posthouse.wire.imap.response import StatusResponse, bad, no, ok
from posthouse.wire.imap.search import BADCHARSET, UNKNOWN_CHARSET, UnknownCharset
from posthouse.wire.imap.search_return import SearchReturn

SEARCHED = 5_000  # mailboxes in one command


class SourceMailbox(NamedTuple):
    """A mailbox to be searched, as the client is told of it."""

    box: Box
    name: str
    uidvalidity: int


async def esearch(session: Session, command: MultiSearch) -> StatusResponse:
    """RFC 7377 §2."""
    with_selected = any(source.scope is Scope.SELECTED for source in command.sources)
    if with_selected and not session.selecting:
        return bad(command.tag, "No mailbox is selected; SELECT one, or name those to be searched.")
    if isinstance(command.key, UnknownCharset):
        if command.returns.saving:
            session.selected.saved = ()  # RFC 5182 §2.1: NO leaves nothing in the variable
        return no(command.tag, UNKNOWN_CHARSET, BADCHARSET)
    condstore.aware_by(session, command.key)
    try:
        meant = await session.store.read(_meant, session.reader, command.sources)
        if with_selected:
            row = await session.store.read(mailboxes.get, session.selected.box)
            own = SourceMailbox(row.box, session.selected.name, row.uidvalidity)
            meant = [own, *(one for one in meant if one.box != own.box)]
        if len(meant) > SEARCHED:
            return no(command.tag, f"That is more than {SEARCHED} mailboxes; search fewer at once.", code.LIMIT)
        await _all(session, command, meant)
    except StoreError:
        if command.returns.saving:
            session.selected.saved = ()  # RFC 9051 §6.4.4.1: NO leaves nothing in the variable
        raise
    return ok(command.tag, "ESEARCH completed.")


async def _all(session: Session, command: MultiSearch, meant: Sequence[SourceMailbox]) -> None:
    """One after the other. What is to be kept up to date is so of the selected mailbox alone (RFC 7377 §2.1)."""
    updating = None
    if command.returns.updating:
        await session.load()
        updating = contexts.wanted(session, command)
    for one in meant:
        await _one(session, command, one, updating)
    if updating is not None and all(one.box != session.selected.box for one in meant):
        contexts.refuse(session, command.tag, contexts.NOT_SEARCHED)


async def _one(session: Session, command: MultiSearch, one: SourceMailbox, updating: Wanted | None) -> None:
    """Search a mailbox, and say what was found, if anything (RFC 7377 §2.1)."""
    selected = session.selecting and session.selected.box == one.box
    try:
        question: Question = await asked(session) if selected else await unselected(session.house, one.box)
        matched = await matching(question, command.key)
        relevancy = await scores(question, command.key, matched) if wanted(command) else {}
        found = await asyncio.to_thread(sorted, matched)
        modseq = await highest_modseq(session, command.key, found, command.returns, one.box)
    except NotFound:
        if selected:
            raise
        return
    if command.returns.saving:
        session.selected.saved = await asyncio.to_thread(kept, found, command.returns)
    if found and not command.returns.only_saving:
        result = extended(command.tag, found, command.returns, uid=True)
        scored = relevancy_of(found, command.returns, relevancy)
        result = replace(result, modseq=modseq, scores=scored, mailbox=(one.name, one.uidvalidity))
        long = SearchReturn.ALL in command.returns.options or scored is not None
        await session.say_long(result, len(found) if long else 0)
    if selected and updating is not None:
        await contexts.begin(session, updating._replace(mailbox=(one.name, one.uidvalidity)), found)


def _meant(reader: Reader, sources: Sequence[Source]) -> Script[list[SourceMailbox]]:
    """The mailboxes that the sources mean, each once; without the selected one. Those named need the right "r", the
    others "l" too (RFC 7377 §2.2)."""
    if all(source.scope in (Scope.SELECTED, Scope.MAILBOXES) for source in sources):
        rows: list[MailboxRow] = []
    else:
        rows = yield from _visible(reader)
    found: dict[int, MailboxRow] = {}
    for source in sources:
        if source.scope is Scope.SUBSCRIBED:
            subscribed = frozenset((yield from mailboxes.list_subscribed(reader.account)))
            found |= {row.id: row for row in rows if row.name in subscribed}
        elif source.scope is Scope.INBOXES:
            found |= {row.id: row for row in rows if row.name == INBOX}
        elif source.scope is Scope.PERSONAL:
            found |= {row.id: row for row in rows if row.account == reader.account}
        for name in source.names:
            named = yield from _named(reader, source.scope, name, rows)
            found |= {row.id: row for row in named}
    return [SourceMailbox(row.box, row.name, row.uidvalidity) for row in found.values() if not row.noselect]


def _visible(reader: Reader) -> Script[list[MailboxRow]]:
    """What LIST would show of mailboxes that can be read: the own ones, then those of others."""
    own = yield from mailboxes.list_mailboxes(reader.account)
    others = yield from names.visible(reader)
    return [*own, *(place.row for place in others if "r" in place.rights)]


def _named(reader: Reader, scope: Scope, name: str, rows: Sequence[MailboxRow]) -> Script[list[MailboxRow]]:
    """A mailbox of this name, and what the scope takes of those below it."""
    place = yield from names.find(reader, name)
    found = [place.row] if place is not None and "r" in place.rights else []
    if scope is Scope.MAILBOXES:
        return found
    top = canonical_name(name) or name if place is None else place.row.name
    below = [row for row in rows if row.name.startswith(top + SEPARATOR)]
    if scope is Scope.SUBTREE_ONE:
        below = [row for row in below if SEPARATOR not in row.name[len(top) + 1 :]]
    return found + below
