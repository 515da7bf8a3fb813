"""RESETKEY, GENURLAUTH and URLFETCH (RFC 4467 §7, RFC 5524 §3): URLs that carry their authorization.

Which URLs grant what is decided in transport/urls.py; here they are printed. What a URL gives goes out as FETCH's parts
do, piece by piece and at the client's pace. URLFETCH answers NIL to a URL that grants nothing, whatever the reason.
"""

from posthouse.mail.address import parse_address
from posthouse.mail.mime import Part, Span
from posthouse.mail.structure import SectionText, body_structure, find_part, span
from posthouse.serve.imap.fetch import Content, Message, content_of, tree_of_message, write_pieces
from posthouse.serve.imap.mailboxes import no_such_mailbox
from posthouse.serve.imap.parts import PIECE
from posthouse.serve.imap.refusals import refusal
from posthouse.serve.imap.state import Session
from posthouse.store import urlkeys
from posthouse.store.names import Reader
from posthouse.store.script import NotFound, StoreError
from posthouse.transport import urls
from posthouse.transport.urls import Asker, Verified
from posthouse.wire.imap import code
from posthouse.wire.imap.fetch import ContentItem, binary_section, body_section
from posthouse.wire.imap.fetch_response import Decoded, Piece
from posthouse.wire.imap.response import Printed, StatusResponse, bad, no, ok
from posthouse.wire.imap.url import MessageUrl, parse_url
from posthouse.wire.imap.urlauth import (
    INTERNAL,
    URLMECH,
    GenUrlAuth,
    ResetKey,
    UrlFetch,
    UrlItem,
    print_gen_url_auth,
    print_url_fetch,
)

_NO_MECHANISM = "INTERNAL is the only mechanism here."
_TEXTS = (SectionText.WHOLE, SectionText.TEXT)


async def _note_key(session: Session) -> None:
    """What this session does to the key of its mailbox is no news to it."""
    if session.selecting:
        await session.look_at_key(tell=False)


async def reset_key(session: Session, command: ResetKey) -> StatusResponse:
    """RFC 4467 §7: what was authorized by the old key, or by any, is so no more."""
    if set(command.mechanisms) - {INTERNAL}:
        return no(command.tag, _NO_MECHANISM, code.CANNOT)
    if command.mailbox is None:
        await session.store.run(urlkeys.forget, session.reader.account)
        await _note_key(session)
        return ok(command.tag, "All keys are removed.")
    try:
        await session.store.run(urls.key_for, session.reader, command.mailbox, urls.new_key(), replace=True)
    except NotFound:
        return no_such_mailbox(command.tag)
    await _note_key(session)
    return ok(command.tag, "The mailbox has a new key.", URLMECH)


# --- GENURLAUTH


async def gen_url_auth(session: Session, command: GenUrlAuth) -> StatusResponse:
    """RFC 4467 §7: all URLs or none."""
    made = []
    for octets, mechanism in command.urls:
        if mechanism != INTERNAL:
            return no(command.tag, _NO_MECHANISM, code.CANNOT)
        url = parse_url(octets)
        wrong = _fault(session, url)
        if wrong is not None or url is None or url.auth is None:
            return bad(command.tag, wrong or "")
        try:
            key = await _key(session, session.reader, url)
        except NotFound:
            return bad(command.tag, "There is no mailbox of that name.", code.NONEXISTENT)
        except StoreError as error:
            return refusal(command.tag, error)
        made.append(octets + b":INTERNAL:" + urls.token(key, url.auth.rump))
    await _note_key(session)
    session.say(Printed(print_gen_url_auth(tuple(made))))
    return ok(command.tag, "GENURLAUTH completed.")


async def _key(session: Session, reader: Reader, url: MessageUrl) -> bytes:
    """One question a URL; a command has at most URLS of them."""
    return await session.store.run(urls.key_for, reader, url.mailbox, urls.new_key(), replace=False)


def _fault(session: Session, url: MessageUrl | None) -> str | None:
    """What is wrong with a URL that is to be authorized (RFC 4467 §7)."""
    if url is None:
        return "The URL does not name a message: imap://USER@HOST/MAILBOX/;UID=NUMBER;URLAUTH=ACCESS."
    if url.auth is None:
        return "The URL does not end with ;URLAUTH= and an access identifier."
    if url.auth.token is not None:
        return "The URL is authorized already."
    if not urls.names_user(url.user, session.reader.identifier):
        return "The URL must name you: your address stands before the host, with %40 for its @."
    if not urls.ours(session.house, url):
        return f"The URL is of another server; this one is {session.house.hostname}."
    if url.auth.who and parse_address(url.auth.who) is None:
        return "Behind user+ or submit+ stands an address, with %40 for its @."
    return None


# --- URLFETCH


async def url_fetch(session: Session, command: UrlFetch) -> StatusResponse:
    """RFC 4467 §7. One response a URL: what is said of one does not wait for the next."""
    asker = Asker(session.reader.identifier)
    for octets, items in command.urls:
        verified = await urls.verify(session.house, octets, asker)
        if verified is None or not await _give(session, octets, items, verified):
            session.link.write(print_url_fetch(octets) + b" NIL\r\n")
        await session.link.flush()
    return ok(command.tag, "URLFETCH completed.")


async def _give(session: Session, octets: bytes, items: tuple[UrlItem, ...], verified: Verified) -> bool:
    """Send what the URL gives; False where there is no such part."""
    url = verified.url
    message = Message(*verified.message, None, None)
    tree = await tree_of_message(session.store, message)
    if span(tree, message.size, url.section) is None:
        return False
    item = _item(tree, url, binary=UrlItem.BINARY in items)
    content = await content_of(session.store, message, item, PIECE)
    pieces: list[Piece] = [print_url_fetch(octets)]
    if UrlItem.STRUCTURE in items:
        part = _returned(tree, url, content, binary=UrlItem.BINARY in items)
        pieces.append(b" (BODYPARTSTRUCTURE %b)" % body_structure(part))
    if not items:
        pieces += [b" ", *_nstring(content)]
    for asked in (UrlItem.BINARY, UrlItem.BODY):
        if asked in items:
            pieces += [b" (%b " % asked.value, *_nstring(content), b")"]
    await write_pieces(session, message, [*pieces, b"\r\n"])
    return True


def _item(tree: Part, url: MessageUrl, *, binary: bool) -> ContentItem:
    """The item of FETCH that gives the same. A header has no transfer encoding (RFC 5524 §3.2)."""
    section = url.section
    if not binary or section.text not in _TEXTS:
        return body_section(section, url.partial, peek=True)
    if section.text is SectionText.WHOLE:
        return binary_section(section.part, url.partial, peek=True)
    part = find_part(tree, (*section.part, 1))
    found = find_part(tree, section.part)
    enclosed = found.message if found is not None and section.part else found
    if part is None or enclosed is None or enclosed.children:
        return body_section(section, url.partial, peek=True)
    return binary_section((*section.part, 1), url.partial, peek=True)


def _returned(tree: Part, url: MessageUrl, content: Content, *, binary: bool) -> Part:
    """The part as it is sent: with the size of what is sent, and decoded where that was asked for and done."""
    part = find_part(tree, url.section.part) or tree
    if content is None or part.children or (part.message is not None):
        return part
    size = _size(content)
    if binary:
        part = part._replace(fields={**part.fields, b"content-transfer-encoding": b"binary"})
    lines = content.count(b"\n") if isinstance(content, bytes) else part.lines
    return part._replace(body=Span(0, size), lines=lines)


def _size(content: Content) -> int:
    match content:
        case bytes():
            return len(content)
        case Span():
            return content.size
        case Decoded():
            return content.span.size
    return 0


def _nstring(content: Content) -> tuple[Piece, ...]:
    """nstring, or literal8 of what holds NUL (RFC 5524 §5)."""
    match content:
        case bytes():
            return (b"%b{%d}\r\n" % (b"~" if b"\0" in content else b"", len(content)), content)
        case Span():
            return (b"{%d}\r\n" % content.size, content)
        case Decoded():
            return (b"%b{%d}\r\n" % (b"~" if content.nul else b"", content.span.size), content)
    return (b"NIL",)
