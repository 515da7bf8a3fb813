"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208 §4), and what other commands ask of quotas.

Every user has one quota root, which all mailboxes of the user share; its name is the user's address. It is shown to the
user, to administrators, and with a mailbox of the user to whom may read that (RFC 9208 §6). What is asked is read anew
each time, so a new limit holds at once in all sessions.
"""

import logging

from posthouse.mail.address import parse_address
from posthouse.mail.ids import AccountId
from posthouse.serve.imap.mailboxes import no_such_mailbox
from posthouse.serve.imap.state import Session
from posthouse.store import access, accounts, names, quota
from posthouse.store.names import Reader
from posthouse.store.namespace import is_foreign
from posthouse.store.quota import LARGEST, UNLIMITED, Limits, Quota, Rules, Usage, Whose
from posthouse.store.script import NotFound, Script
from posthouse.wire.imap import code
from posthouse.wire.imap.quota import GetQuota, GetQuotaRoot, Resource, SetQuota, print_quota, print_quota_root
from posthouse.wire.imap.response import StatusResponse, no, ok

UNIT = 1024  # octets in which STORAGE is counted (RFC 9208 §5.1)
RESOURCES = ("STORAGE", "MESSAGE", "MAILBOX")  # in the order of quota.Limits

log = logging.getLogger("posthouse.imap")


def may_set(session: Session) -> bool:
    """Whether the user is an administrator, who is offered QUOTASET."""
    return access.identifier(session.who.address) in session.house.quota.administrators


# --- asking


def of_name(reader: Reader, name: str, *, any_root: bool) -> Script[AccountId]:
    """The account of a quota root; any at all is known to administrators alone. Raises NotFound."""
    address = parse_address(name)
    if address is not None and (any_root or access.identifier(address) == reader.identifier):
        target = yield from accounts.find(address)
        if target is not None:
            return target.account
    raise NotFound("there is no quota root of that name")


def shown(account: AccountId, rules: Rules) -> Script[tuple[str, Quota]]:
    """The name of the root and how it stands. Raises NotFound."""
    return (yield from access.owner(account)), (yield from quota.of(account, rules))


def root_of(reader: Reader, name: str, *, any_root: bool, rules: Rules) -> Script[tuple[str, Quota]]:
    """What GETQUOTA shows. Raises NotFound."""
    return (yield from shown((yield from of_name(reader, name, any_root=any_root)), rules))


def root_of_mailbox(reader: Reader, name: str, rules: Rules) -> Script[tuple[str, str, Quota]]:
    """The name of the mailbox, and its root. It need not be there, where it would be the user's own. Raises NotFound,
    Forbidden."""
    place = yield from names.find(reader, name)
    if is_foreign(name) and place is None:
        raise NotFound("there is no mailbox of that name")
    if place is None:
        return name, *(yield from shown(reader.account, rules))
    names.demand(place, "r")
    return place.row.name, *(yield from shown(place.row.account, rules))


def resources(root: Quota) -> list[Resource]:
    """The resources that are limited (RFC 9208 §4.2.1), STORAGE in units of 1024 octets."""
    used = root.usage._replace(octets=-(-root.usage.octets // UNIT))
    octets = root.limits.octets
    most = root.limits._replace(octets=None if octets is None else octets // UNIT)
    return [
        Resource(name, usage, limit)
        for name, usage, limit in zip(RESOURCES, used, most, strict=True)
        if limit is not None
    ]


async def get_quota(session: Session, command: GetQuota) -> StatusResponse:
    """RFC 9208 §4.1.1."""
    rules, every = session.house.quota.rules, may_set(session)
    try:
        name, root = await session.store.read(root_of, session.reader, command.root, any_root=every, rules=rules)
    except NotFound:
        return _no_such_root(command.tag)
    session.say(print_quota(name, resources(root), session.engine.utf8))
    return ok(command.tag, "GETQUOTA completed.")


def _no_such_root(tag: bytes) -> StatusResponse:
    """The same for roots that are not there and those that are nobody's business."""
    return no(tag, "There is no quota root of that name for you; GETQUOTAROOT names yours.", code.NONEXISTENT)


async def get_quota_root(session: Session, command: GetQuotaRoot) -> StatusResponse:
    """RFC 9208 §4.1.2."""
    try:
        mailbox, name, root = await session.store.read(
            root_of_mailbox, session.reader, command.mailbox, session.house.quota.rules
        )
    except NotFound:
        return no_such_mailbox(command.tag)
    utf8 = session.engine.utf8
    session.say(print_quota_root(mailbox, name, utf8), print_quota(name, resources(root), utf8))
    return ok(command.tag, "GETQUOTAROOT completed.")


# --- setting


def set_root(reader: Reader, name: str, limits: Limits, rules: Rules) -> Script[tuple[str, Quota]]:
    """Set the limits of a root; how it stands then. Raises NotFound."""
    account = yield from of_name(reader, name, any_root=True)
    yield from quota.set_limits(Whose(account), limits)
    return (yield from shown(account, rules))


async def set_quota(session: Session, command: SetQuota) -> StatusResponse:
    """RFC 9208 §4.1.3: what is not named is not limited any more."""
    if not may_set(session):
        return no(command.tag, "Only administrators set quotas.", code.NOPERM)
    unknown = [name for name, _ in command.limits if name not in RESOURCES]
    if unknown:
        return no(command.tag, f"Limits are set here on {', '.join(RESOURCES)}, and on nothing else.", code.CANNOT)
    asked = dict(command.limits)
    storage, messages, mailboxes = (asked.get(name, UNLIMITED) for name in RESOURCES)
    limits = Limits(UNLIMITED if storage == UNLIMITED else min(storage * UNIT, LARGEST), messages, mailboxes)
    try:
        name, root = await session.store.run(set_root, session.reader, command.root, limits, session.house.quota.rules)
    except NotFound:
        return _no_such_root(command.tag)
    log.info("a quota was set", extra={"user": name, "by": str(session.who.address), **limits._asdict()})
    session.say(print_quota(name, resources(root), session.engine.utf8))
    return ok(command.tag, "SETQUOTA completed.")


# --- what other commands ask


def room(reader: Reader, name: str, rules: Rules) -> Script[Usage]:
    """How many octets and messages may still come into a mailbox. Raises NotFound, Forbidden."""
    place = yield from names.need(reader, name, "i")
    found = yield from quota.of(place.row.account, rules)
    pairs = zip(found.usage, found.limits, strict=True)
    return Usage(*(LARGEST if most is None else most - used for used, most in pairs))
