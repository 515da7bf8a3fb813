"""From greeting to login: CAPA, STLS, USER and PASS, AUTH, UTF8, LANG (RFC 1939 §4, §7; RFC 2449 §5, §6; RFC 2595 §4;
RFC 5034 §4; RFC 6856 §2, §3).

Passwords are taken only under TLS, unless the house allows otherwise for tests on loopback. Every refusal of a login
costs the same time and has the same words (serve/login.py). After some failures the connection ends.
"""

import logging

from posthouse import __version__
from posthouse.net.link import Woken
from posthouse.serve.errors import REFUSAL_WORDS, pop3_words, words
from posthouse.serve.limits import Refusal, Service
from posthouse.serve.login import note, user_name
from posthouse.serve.pop3.expire import announced
from posthouse.serve.pop3.maildrop import open_maildrop
from posthouse.serve.pop3.state import Session
from posthouse.store.accounts import Login
from posthouse.store.script import StoreError
from posthouse.wire.pop3.command import Auth, AuthLine, Capa, Event, Lang, Malformed, Pass, Stls, User, Utf8
from posthouse.wire.pop3.reply import Pop3Reply, challenge, err, ok, several

log = logging.getLogger("posthouse.pop3")

LANGUAGE = "en"

PRIVACY = err("Start TLS first: passwords are not taken in the clear")
NAME_HEARD = ok("Now the password")
TLS_BEGINS = ok("Begin TLS now")
NO_TLS = err("TLS is not offered here")
INJECTED = err("Nothing may follow STLS before TLS begins; goodbye", close=True)
UTF8_ON = ok("UTF-8 it is")
LANGUAGES = ok("Languages:", lines=several([f"{LANGUAGE} English"]))
ENGLISH = ok(f"{LANGUAGE} English it is")
NO_LANGUAGE = err("That language is not spoken here")


def login_possible(talk: Session) -> bool:
    """Whether a password may be sent now."""
    return talk.link.tls is not None or talk.house.allow_plaintext_login


def greeting(talk: Session) -> Pop3Reply:
    """RFC 1939 §4. There is no timestamp in it, because APOP is not offered."""
    return ok(f"{talk.house.hostname} Posthouse is ready")


async def capabilities(talk: Session, command: Capa) -> Pop3Reply:
    """CAPA as it is now (RFC 2449 §5, §6). The version is for users only: it tells a stranger which faults to try."""
    names = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
    names += [await announced(talk), "LOGIN-DELAY 0", "UTF8 USER", "LANG"]
    if talk.login is None and talk.house.tls is not None and talk.link.tls is None:
        names.append("STLS")
    if login_possible(talk):
        mechanisms = talk.offer.mechanisms
        names += ["USER", *([f"SASL {' '.join(mechanisms)}"] if mechanisms else ())]
    names.append("IMPLEMENTATION Posthouse" if talk.login is None else f"IMPLEMENTATION Posthouse-{__version__}")
    return ok("This is what can be done:", lines=several(names))


async def language(talk: Session, command: Lang) -> Pop3Reply:
    """RFC 6856 §3.2. Ranges such as `en-GB` are met by what is there, as RFC 4647 §3.4 (lookup) has it."""
    if not command.range:
        return LANGUAGES
    primary = command.range.partition("-")[0].lower()
    return ENGLISH if primary in (LANGUAGE, "*") else NO_LANGUAGE


async def stls(talk: Session, command: Stls) -> Pop3Reply:
    """RFC 2595 §4. What a stranger may have put behind the command in plain text is never read: the connection ends."""
    if talk.house.tls is None:
        return NO_TLS
    return INJECTED if talk.engine.pending else TLS_BEGINS


async def start_tls(talk: Session) -> None:
    """The handshake, once the reply is written."""
    assert talk.house.tls is not None
    await talk.link.start_tls(talk.house.tls, talk.engine)


async def user(talk: Session, command: User) -> Pop3Reply:
    """RFC 1939 §7. The same answer for every name."""
    return NAME_HEARD if login_possible(talk) else PRIVACY


async def utf8(talk: Session, command: Utf8) -> Pop3Reply:
    """RFC 6856 §2.1. Messages go out as they came in any case (decision 0093)."""
    return UTF8_ON


async def password(talk: Session, command: Pass) -> Pop3Reply:
    """RFC 1939 §7; name and password in UTF-8 (RFC 6856 §2.2)."""
    if not login_possible(talk):
        return PRIVACY
    found = await talk.door.verify(user_name(command.name), command.password, talk.caller)
    return await _concluded(talk, found)


async def authenticate(talk: Session, command: Auth) -> Pop3Reply:
    """RFC 5034 §4."""
    if not login_possible(talk):
        return PRIVACY
    if not command.mechanism:
        return ok("Mechanisms:", lines=several(talk.offer.mechanisms))
    talk.link.deadline(talk.limits.sasl_seconds)

    async def ask(octets: bytes) -> bytes | Pop3Reply | None:
        talk.say(challenge(octets))
        return await _next_line(talk)

    found = await talk.door.authenticate(command.mechanism, command.initial, ask, talk.caller)
    return found if isinstance(found, Pop3Reply) else await _concluded(talk, found)


async def _next_line(talk: Session) -> bytes | Pop3Reply | None:
    """The client's turn: octets, None when it cancels, a reply when it was no base64."""
    while True:
        event: Event | Woken | None = await talk.link.next(talk.engine)
        match event:
            case AuthLine():
                return event.octets
            case Malformed():
                return event.reply
            case Woken():
                continue
            case _:
                raise ConnectionResetError("the peer left in the middle of AUTH")


async def _concluded(talk: Session, found: Login | Refusal) -> Pop3Reply:
    """The reply to a login, and the end of the connection where there were too many failures."""
    if isinstance(found, Refusal):
        return _refused(talk, found)
    too_many = talk.enter(found)
    note(str(found.address), talk.ip, Service.POP3, too_many)
    if too_many is not None:
        return _closing(pop3_words(REFUSAL_WORDS[too_many]))
    talk.standing.begin(found, talk.door.peers.now())
    try:
        talk.mail = await open_maildrop(talk.house.store, found.account)
    except StoreError as error:
        log.warning("the store refused: %s", error, extra={"peer": talk.ip})
        return _closing(pop3_words(words(error)))
    talk.login = found
    talk.link.deadline(talk.limits.idle_seconds)
    return ok(f"{len(talk.mail.uids)} messages ({talk.mail.size} octets)")


def _refused(talk: Session, reason: Refusal) -> Pop3Reply:
    answer = pop3_words(REFUSAL_WORDS[reason])
    if reason is Refusal.WRONG:
        talk.failures += 1
    too_many = talk.failures >= talk.limits.login_failures
    if too_many:
        talk.door.peers.offended(talk.ip)
    return _closing(answer) if reason is Refusal.FAILURES or too_many else answer


def _closing(answer: Pop3Reply) -> Pop3Reply:
    return err(answer.text, answer.code, close=True)
