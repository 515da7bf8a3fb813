"""Receiving mail: what is said to MAIL and RCPT, and `take`, which decides after the final dot (RFC 5321 §3.3, §6.1).

Every refusal is a Reply. Errors of the store are raised as they are; `serve/errors.py` has the words.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from mmap import mmap

from posthouse.mail.address import Address, ForwardPath, ReversePath
from posthouse.mail.header import body_start
from posthouse.mail.ids import Millis
from posthouse.mail.status import Reply, reply
from posthouse.store.accounts import Closed, Elsewhere, NoSuchDomain, NoSuchUser, Overfull, Resolution, Senders
from posthouse.store.crashpoint import crashpoint
from posthouse.store.script import Full
from posthouse.store.sending import TooMuch
from posthouse.transport import room
from posthouse.transport.client import Client
from posthouse.transport.encoding import encoded
from posthouse.transport.forwarding import circles
from posthouse.transport.house import House, MessageLimits
from posthouse.transport.keep import Incoming, keep
from posthouse.transport.notices import FORGED, Verdict, judge
from posthouse.transport.resolve import elsewhere, leads_to, resolve
from posthouse.transport.route import Leads
from posthouse.transport.signing import UNSIGNABLE, author_domain, signatures, times
from posthouse.transport.spool import kept
from posthouse.transport.submit import Edit, complete, may_send, too_much
from posthouse.transport.trace import hops

SENDER_OK = reply(250, "2.1.0", "Sender accepted")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient accepted")
TAKEN = reply(250, "2.0.0", "Message accepted and stored")

TOO_LARGE = reply(552, "5.3.4", "The message is larger than this server accepts")
DISK_FULL = reply(452, "4.3.1", "The server is short of disk space; try again later")
NEEDS_SMTPUTF8 = reply(550, "5.6.7", "An address outside ASCII needs SMTPUTF8")
NO_SUCH_USER = reply(550, "5.1.1", "There is no such user here; check the address")
USERS_ONLY = reply(
    550, "5.7.2", "Only users of this server may write to this group; if you are one, log in on the submission port"
)  # fmt: skip
MEMBERS_ONLY = reply(550, "5.7.2", "Only its members may write to this group, logged in on the submission port")
OVERFULL = reply(
    550, "5.2.4", "This address leads to more people than one message can be for; its owner must divide it"
)
NO_RELAY = reply(
    550, "5.7.1", "This server does not take mail for that domain from strangers; if you have an account here,",
    "log in on the submission port and send from there",
)  # fmt: skip
STAYS_HERE = reply(
    550,
    "5.7.1",
    "Nothing leaves this server (queue.leave is false, as in the playground); write to people here",
)
ROUTING_LOOP = reply(554, "5.4.6", "The message has been through too many servers; it seems to go in a circle")
FORWARDING_LOOP = reply(554, "5.4.6", "An address here sends mail on, and this message has come back to it")
NUL_INSIDE = reply(550, "5.6.0", "The message holds a NUL octet, which mail must not")
HEADER_TOO_LARGE = reply(552, "5.3.4", "The header of the message is too large")
FIELD_TOO_LARGE = reply(552, "5.3.4", "A field in the header of the message is too large")
TOO_MANY_FIELDS = reply(552, "5.3.4", "The header of the message has too many fields")

# A field and the lines folded into it (RFC 5322 §2.2.3), as coarse as counting needs.
_FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")
_FIELD_START = re.compile(rb"^[^ \t\r\n]", re.MULTILINE)


async def mail(path: ReversePath, size: int, client: Client, house: House) -> Reply:
    """The answer to MAIL (RFC 5321 §4.1.1.2); `size` is 0 where the client did not say. Raises Unavailable."""
    if size > house.limits.message_size:
        return TOO_LARGE
    if not house.disk.room(house.store.directory, house.limits.message_size):
        return DISK_FULL
    if client.login is not None and path.address is not None:
        return await may_send(client.login, path.address, house) or SENDER_OK
    return SENDER_OK


async def rcpt(path: ForwardPath, utf8: bool, client: Client, house: House) -> Leads | Reply:
    """Where a recipient leads, or the refusal of RCPT (RFC 5321 §4.1.1.3, §3.6). Raises Unavailable."""
    if not path.address.ascii and not utf8:
        return NEEDS_SMTPUTF8
    if client.login is not None and await elsewhere(path.address, house):
        found: Resolution = NoSuchDomain(path.address.domain)
    else:
        found = await resolve(path.address, house)
    if isinstance(found, NoSuchUser):
        return NO_SUCH_USER
    if isinstance(found, NoSuchDomain) and client.login is None:
        return NO_RELAY
    if isinstance(found, NoSuchDomain | Elsewhere) and not house.leave:
        return STAYS_HERE
    if isinstance(found, Overfull):
        return OVERFULL
    return _closed(found, client) or leads_to(found)


def _closed(found: Resolution, client: Client) -> Reply | None:
    """The refusal for a group that this client may not write to; who is who is known by a login alone."""
    if not isinstance(found, Closed):
        return None
    if client.login is None:
        return USERS_ONLY if found.senders is Senders.USERS else MEMBERS_ONLY
    if found.senders is Senders.USERS:
        return None
    among = any(user.account == client.login.account for user in found.users)
    return None if among else MEMBERS_ONLY


async def take(mail: Incoming, house: House) -> Reply:
    """After the final dot: decide, then take responsibility (RFC 5321 §4.1.1.4, §6.1).

    When it answers 250 the message is durable for every recipient; otherwise it is kept for none. Raises Full with the
    accounts that have no room for it, NotFound, Unavailable and OSError.
    """
    stop = body_start(mail.octets)
    fault = header_fault(mail.octets, stop, house.limits)
    if fault is not None:
        return fault
    if mail.octets.find(b"\0") >= 0:
        return NUL_INSIDE
    if hops(mail.octets, stop) >= house.limits.received_fields:
        return ROUTING_LOOP
    if any(way.forwards and circles(mail.octets, stop, house.hostname, address) for address, way in _ways(mail)):
        return FORWARDING_LOOP
    verdict = await judge(mail, house)
    if verdict is Verdict.REFUSE:
        return FORGED
    mail = replace(mail, junk=verdict is Verdict.JUNK)
    received = house.clock()
    edit = await _completed(mail, stop, received, house)
    if isinstance(edit, Reply):
        return edit
    mail, edit = await _signed(mail, Edit(before(mail.octets, stop, edit.front), edit.changes), stop, house)
    try:
        refused = await _keep(mail, edit, received, house)
    except Full:
        if mail.client.lmtp:  # each recipient is answered for itself
            raise
        return room.refusal(house)
    if refused is not None:
        return too_much(refused, received)
    crashpoint("smtp.after_commit_before_250")
    return TAKEN


async def _keep(mail: Incoming, edit: Edit, received: Millis, house: House) -> TooMuch | None:
    """Keep it; where some have no room, those get it from the queue. Raises Full where nobody has, or no queue runs."""
    for _ in range(room.TRIES):
        try:
            return await keep(mail, edit, received, house)
        except Full as error:
            nobody = all(room.is_hopeless(way, error.accounts, house) for way in mail.leads)
            if mail.client.lmtp or not house.leave or nobody:
                raise
            mail = replace(mail, leads=await room.postponed(mail.leads, error.accounts, house))
    return await keep(mail, edit, received, house)


async def take_each(mail: Incoming, house: House) -> tuple[Reply, ...]:
    """The same for LMTP: an answer for each recipient, of whom those who have no room are refused (RFC 2033 §4.2)."""
    answers: dict[int, Reply] = {}
    leads = mail.leads
    while left := [place for place in range(len(leads)) if place not in answers]:
        recipients = tuple(mail.envelope.recipients[place] for place in left)
        envelope = replace(mail.envelope, recipients=recipients)
        some = replace(mail, envelope=envelope, leads=tuple(leads[place] for place in left))
        try:
            answers.update(dict.fromkeys(left, await take(some, house)))
        except Full as error:
            full = [place for place in left if room.is_hopeless(leads[place], error.accounts, house)]
            answers.update(dict.fromkeys(full, room.refusal(house)))
            leads = await room.postponed(leads, error.accounts, house)
    return tuple(answers[place] for place in range(len(leads)))


def _ways(mail: Incoming) -> Iterator[tuple[Address, Leads]]:
    """Whom it was written to, and where they lead."""
    recipients = (recipient.path.address for recipient in mail.envelope.recipients)
    return zip(recipients, mail.leads, strict=True)


def before(octets: bytes | mmap, stop: int, fields: bytes) -> bytes:
    """What is put in front of a message whose header ends at `stop`: the fields, and a blank line where it has no
    header of its own, so that its text does not become part of ours (RFC 5322 §2.1)."""
    return fields + b"\r\n" if octets and stop == 0 else fields


def header_fault(octets: bytes | mmap, stop: int, limits: MessageLimits) -> Reply | None:
    """The refusal for a header beyond the limits; `stop` is where it ends. A header is never cut."""
    if stop > limits.header_size:
        return HEADER_TOO_LARGE
    head = octets[:stop]
    # Most headers are too short to break the other two limits: look only where they could.
    if head.count(b"\n") > limits.header_fields and len(_FIELD_START.findall(head)) > limits.header_fields:
        return TOO_MANY_FIELDS
    if stop > limits.field_size and any(len(field) > limits.field_size for field in _FIELD.findall(head)):
        return FIELD_TOO_LARGE
    return None


async def _completed(mail: Incoming, stop: int, received: Millis, house: House) -> Edit | Reply:
    if mail.client.login is None:
        return Edit()
    return await complete(mail.octets, stop, mail.client.login, received, house)


async def _signed(mail: Incoming, edit: Edit, stop: int, house: House) -> tuple[Incoming, Edit]:
    """The mail of users is signed as it leaves us, by the domain of its author (RFC 6376 §5.1), and so that nobody must
    encode it anew behind the signature (RFC 6376 §5.3)."""
    if mail.client.login is None:
        return mail, edit
    octets = mail.octets
    head = edit.front + b"".join(kept(octets[:stop], edit.changes))
    keys = await house.signing.keys(author_domain(head), house.store)
    done = await encoded(octets, edit.front, edit.changes) if keys.signers and _may_leave(mail) else None
    if done is not None:
        edit, stop = Edit(b"", ((0, len(octets), done),)), body_start(done)
        octets, head = done, done[:stop]
    when = times(Millis(max(house.clock(), mail.release)), house.patience.lifetime)
    fields = await signatures(head, (octets, stop), keys.signers, when._replace(at=house.clock() // 1_000))
    if keys.signers and not fields:
        keys = UNSIGNABLE
    return replace(mail, keys=keys), Edit(fields + edit.front, edit.changes)


def _may_leave(mail: Incoming) -> bool:
    """What is held back may lead elsewhere by then."""
    return mail.release > 0 or any(way.leaves or way.forwards for way in mail.leads)
