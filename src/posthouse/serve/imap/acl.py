"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3): a user says who else may use a mailbox.

A change is told to every session of the owner's account by the usual hint, so that those who have the mailbox
selected look at their rights before their next command (state.py).
"""

from posthouse.serve.imap.mailboxes import no_such_mailbox
from posthouse.serve.imap.refusals import sentence
from posthouse.serve.imap.state import Session
from posthouse.store import access, names
from posthouse.store.access import Rights
from posthouse.store.names import Place, Reader
from posthouse.store.script import NotFound, OverQuota, Script
from posthouse.wire.imap import code
from posthouse.wire.imap.acl import (
    RIGHTS,
    VIRTUAL,
    DeleteAcl,
    GetAcl,
    ListRights,
    MyRights,
    MyRightsResponse,
    RightsChange,
    SetAcl,
    print_acl,
    print_list_rights,
)
from posthouse.wire.imap.response import StatusResponse, no, ok

KNOWING = frozenset("lrikxa")  # RFC 4314 §4: with any of these a user may ask for his rights
NO_SUCH_USER = "There is no such user here. An identifier is the whole address of a user, or anyone."


def _administered(reader: Reader, name: str) -> Script[Place]:
    return (yield from names.need(reader, name, "a", selectable=False))


def change(reader: Reader, name: str, identifier: str, change: RightsChange | None) -> Script[bool]:
    """Change the rights of an identifier; None: take its entry away. Whether there is such an identifier. Raises
    NotFound, Forbidden, Refused, OverQuota."""
    place = yield from _administered(reader, name)
    canonical = yield from access.resolve(identifier, must_exist=change is not None)
    if canonical is None:
        return False
    box = place.row.box
    if change is None:
        yield from access.put(box, canonical, access.NONE)
        return True
    present = dict((yield from access.entries(box.mailbox))).get(canonical, access.NONE)
    yield from access.put(box, canonical, change.of(present))
    return True


async def set_acl(session: Session, command: SetAcl) -> StatusResponse:
    """RFC 4314 §3.1."""
    return await _change(session, command, command.change)


async def delete_acl(session: Session, command: DeleteAcl) -> StatusResponse:
    """RFC 4314 §3.2."""
    return await _change(session, command, None)


async def _change(session: Session, command: SetAcl | DeleteAcl, wanted: RightsChange | None) -> StatusResponse:
    try:
        known = await session.store.run(change, session.reader, command.mailbox, command.identifier, wanted)
    except NotFound:
        return no_such_mailbox(command.tag)
    except OverQuota as error:
        return no(command.tag, sentence(str(error)), code.LIMIT)
    if not known:
        return no(command.tag, NO_SUCH_USER, code.NONEXISTENT)
    return ok(command.tag, "DELETEACL completed." if wanted is None else "SETACL completed.")


def listed(reader: Reader, name: str) -> Script[tuple[Place, list[tuple[str, Rights]]]]:
    """The mailbox and its whole list, the owner first. Raises NotFound, Forbidden."""
    place = yield from _administered(reader, name)
    owner = yield from access.owner(place.row.account)
    return place, [(owner, access.EVERY), *(yield from access.entries(place.row.id))]


async def get_acl(session: Session, command: GetAcl) -> StatusResponse:
    """RFC 4314 §3.3."""
    try:
        place, entries = await session.store.read(listed, session.reader, command.mailbox)
    except NotFound:
        return no_such_mailbox(command.tag)
    session.say(print_acl(place.row.name, entries, session.engine.utf8))
    return ok(command.tag, "GETACL completed.")


def grantable(reader: Reader, name: str, identifier: str) -> Script[tuple[str, list[str]] | None]:
    """Which rights the identifier always has on the mailbox, and which it can be given, each by itself; None where
    there is no such identifier. Raises NotFound, Forbidden."""
    place = yield from _administered(reader, name)
    canonical = yield from access.resolve(identifier, must_exist=True)
    if canonical is None:
        return None
    every = RIGHTS + "".join(VIRTUAL)
    if canonical.removeprefix(access.NEGATIVE) == (yield from access.owner(place.row.account)):
        return ("" if canonical.startswith(access.NEGATIVE) else every), []
    return "", list(every)


async def list_rights(session: Session, command: ListRights) -> StatusResponse:
    """RFC 4314 §3.4. No right is tied to another."""
    try:
        found = await session.store.read(grantable, session.reader, command.mailbox, command.identifier)
    except NotFound:
        return no_such_mailbox(command.tag)
    if found is None:
        return no(command.tag, NO_SUCH_USER, code.NONEXISTENT)
    session.say(print_list_rights(command, *found, session.engine.utf8))
    return ok(command.tag, "LISTRIGHTS completed.")


async def my_rights(session: Session, command: MyRights) -> StatusResponse:
    """RFC 4314 §3.5."""
    place = await session.store.read(names.find, session.reader, command.mailbox)
    if place is None or place.rights.isdisjoint(KNOWING):
        return no_such_mailbox(command.tag)
    session.say(MyRightsResponse(place.row.name, place.rights).printed(session.engine.utf8))
    return ok(command.tag, "MYRIGHTS completed.")
