"""FETCH PREVIEW (RFC 8970): previews are made when they are first asked for, and kept.

They are made TOGETHER octets of messages at a time, in a thread, and kept in one script each time, so that others are
served meanwhile. Of a large message only the first BEGINNING octets are read: its text stands there. With LAZY nothing
is made: what is not there is NIL.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence

from posthouse.mail.ids import EmailId
from posthouse.mail.mime import parse
from posthouse.mail.preview import preview
from posthouse.serve.imap.state import Session
from posthouse.store import previews
from posthouse.store.emails import Spans
from posthouse.store.previews import Unmade
from posthouse.store.script import NotFound, StoreError

log = logging.getLogger("posthouse.imap")

AT_ONCE = 100  # messages of one round
TOGETHER = 1024 * 1024  # octets of messages held at once
BEGINNING = 512 * 1024  # octets of a message that are read


async def make(session: Session, spans: Spans) -> None:
    """Make the previews that are missing in these spans. A store that cannot keep them does not keep a client from
    the rest of its answer: they are empty then (RFC 8970 §8)."""
    made, more = 0, 1
    try:
        while more:
            more = 0  # what cannot be read is no reason to ask for ever
            for some in _together(await session.store.read(previews.unmade, session.selected.box, spans, AT_ONCE)):
                found = await _made(session, some)
                await session.store.run(previews.keep, found)
                more += len(found)
            made += more
    except NotFound:
        return  # the mailbox has gone: FETCH will say so
    except StoreError as error:
        log.warning("previews could not be made: %s", error)
    if made:  # RFC 8970 §8: who lets the server work
        log.info("previews made", extra={"user": str(session.who.address), "count": made})


async def _made(session: Session, some: Sequence[Unmade]) -> list[tuple[EmailId, str]]:
    blobs = session.store.blobs
    try:
        if some[0].size > BEGINNING:
            octets = [await blobs.get(some[0].blob, 0, BEGINNING)]
        else:
            octets = await blobs.get_many([one.blob for one in some])
    except StoreError as error:  # damaged, or expunged meanwhile: it must not cost the others their previews
        if len(some) > 1:
            return [made for one in some for made in await _made(session, (one,))]
        log.warning("a message could not be read for its preview: %s", error)
        return []
    texts = await asyncio.to_thread(_texts, octets)
    return [(one.email, text) for one, text in zip(some, texts, strict=True)]


def _texts(several: Sequence[bytes]) -> list[str]:
    return [preview(octets, parse(octets)) for octets in several]


def _together(missing: Sequence[Unmade]) -> Iterator[list[Unmade]]:
    """Messages of at most TOGETHER octets; one of which only the beginning is read comes alone."""
    some: list[Unmade] = []
    octets = 0
    for one in missing:
        if some and (octets + one.size > TOGETHER or one.size > BEGINNING):
            yield some
            some, octets = [], 0
        some.append(one)
        octets += one.size
    if some:
        yield some
