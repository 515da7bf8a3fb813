"""URLs that carry their own authorization: made, and verified for whoever presents one (RFC 4467 §5, §6).

IMAP's URLFETCH asks here, and so can a submission server (BURL). A token is HMAC-SHA-256 of the octets of the rump URL
under the mailbox access key, behind the number of this way to make it (decision 0053). A URL grants what the user it
names may read at the moment, no more; why one grants nothing is not told to anybody.
"""

import hmac
import secrets
from typing import NamedTuple

from posthouse.mail.address import parse_address
from posthouse.mail.ids import UIDValidity
from posthouse.store import accounts, emails, names, urlkeys
from posthouse.store.access import identifier
from posthouse.store.blobs import BlobKey
from posthouse.store.emails import Column
from posthouse.store.mailboxes import Box
from posthouse.store.names import Reader
from posthouse.store.script import Script
from posthouse.transport.house import House
from posthouse.wire.imap.url import AccessKind, MessageUrl, UrlAuth, parse_url
from posthouse.wire.imap.urlauth import INTERNAL

KEY_OCTETS = 32  # of a mailbox access key; RFC 4467 §10 asks for 16
ALGORITHM = b"01"  # RFC 4467 §10: a token says how it was made

_COLUMNS = (Column.BLOB, Column.SIZE, Column.HEADER_SIZE)


class Asker(NamedTuple):
    """Who presents a URL: a user, as access control lists call him; `submission`: a submission server for that user."""

    user: str
    submission: bool = False


class Stored(NamedTuple):
    """The message that a URL names."""

    blob: BlobKey
    size: int
    header_size: int


class Verified(NamedTuple):
    """A URL that grants access, and its message."""

    url: MessageUrl
    message: Stored


class _Seen(NamedTuple):
    key: bytes | None
    message: Stored | None


def new_key() -> bytes:
    """A mailbox access key (RFC 4467 §2)."""
    return secrets.token_bytes(KEY_OCTETS)


def ours(house: House, url: MessageUrl) -> bool:
    """Whether the URL names this server (decision 0053)."""
    return url.host == house.hostname.lower()


def token(key: bytes, rump: bytes) -> bytes:
    """The authorization token of the INTERNAL mechanism (RFC 4467 §5)."""
    return ALGORITHM + hmac.digest(key, rump, "sha256").hex().encode("ascii")


def message(box: Box, validity: UIDValidity | None, url: MessageUrl) -> Script[Stored | None]:
    """The message of this URL in its mailbox; None where it has gone, or another mailbox of that name is meant.
    Raises NotFound."""
    if url.uidvalidity not in (None, validity):
        return None
    rows = yield from emails.fetch(box, ((url.uid, url.uid),), _COLUMNS, 1)
    return Stored(*rows[0][1:]) if rows else None


def _look_up(url: MessageUrl) -> Script[_Seen]:
    """The key and the message, both None where the user the URL names has none."""
    nothing = _Seen(None, None)
    address = parse_address(url.user)
    owner = None if address is None else (yield from accounts.known_as(address))
    if owner is None:
        return nothing
    reader = Reader(owner.account, identifier(owner.address))
    place = yield from names.find(reader, url.mailbox)
    if place is None or place.row.noselect or "r" not in place.rights:
        return nothing
    key = yield from urlkeys.find(reader.account, place.row.id)
    return _Seen(key, (yield from message(place.row.box, place.row.uidvalidity, url)))


async def verify(house: House, octets: bytes, asker: Asker) -> Verified | None:
    """The message that an authorized URL grants this asker, or None (RFC 4467 §6). Raises Unavailable."""
    url = parse_url(octets)
    auth = None if url is None else url.auth
    if url is None or auth is None or auth.token is None or not ours(house, url):
        return None
    seen = await house.store.read(_look_up, url)
    right = token(seen.key or new_key(), auth.rump)  # RFC 4467 §6: a plausible key costs the same time
    if not hmac.compare_digest(right, auth.token.lower()) or auth.mechanism != INTERNAL:
        return None
    late = auth.expire is not None and house.clock() > auth.expire
    if late or seen.key is None or seen.message is None or not _may(auth, asker):
        return None
    return Verified(url, seen.message)


def _may(auth: UrlAuth, asker: Asker) -> bool:
    """Whether the access identifier admits the asker (RFC 4467 §3). There are no anonymous sessions here."""
    match auth.kind:
        case AccessKind.SUBMIT:
            return asker.submission and names_user(auth.who, asker.user)
        case AccessKind.USER:
            return not asker.submission and names_user(auth.who, asker.user)
    return True


def names_user(text: str, user: str) -> bool:
    """Whether this is the address of that user."""
    address = parse_address(text)
    return address is not None and identifier(address) == user


def key_for(reader: Reader, name: str, fresh: bytes, *, replace: bool) -> Script[bytes]:
    """The user's key for a mailbox he may read; `fresh` where there was none. Raises NotFound, Forbidden."""
    place = yield from names.need(reader, name, "r")
    return (yield from urlkeys.put(reader.account, place.row.box, fresh, replace=replace))
