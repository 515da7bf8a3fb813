"""net/ldap.py against servers that mean harm, or are broken (RFC 4511 §4.1.1, RFC 4513 §5.1.2). The real one is in
system/test_ldap.py."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from posthouse.mail.address import Address, Domain
from posthouse.net.directory import NoAnswer, Person
from posthouse.net.ldap import Ldap, LdapPlan

ANNA = Address("anna", Domain("home.test"))
Answer = Callable[[int], bytes]
Talk = Callable[[int, int, socket.socket], None]
SUCCESS = b"\x0a\x01\x00\x04\x00\x04\x00"


def tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    return bytes([tag, size]) + value if size < 128 else bytes([tag, 0x82]) + size.to_bytes(2) + value


def message(number: int, tag: int, value: bytes) -> bytes:
    """An LDAPMessage (RFC 4511 §4.1.1)."""
    return tlv(0x30, tlv(0x02, number.to_bytes(4)) + tlv(tag, value))


def number_of(request: bytes) -> int:
    """The messageID of a request."""
    at = 2 + (request[1] & 0x7F if request[1] & 0x80 else 0)
    return int.from_bytes(request[at + 2 : at + 2 + request[at + 1]])


def bound(number: int) -> bytes:
    return message(number, 0x61, SUCCESS)


def done(result: bytes = SUCCESS) -> Answer:
    return lambda number: message(number, 0x65, result)


def entry(name: bytes, mail: bytes = b"anna@home.test") -> Answer:
    return lambda number: message(
        number, 0x64, tlv(0x04, name) + tlv(0x30, tlv(0x30, tlv(0x04, b"mail") + tlv(0x31, tlv(0x04, mail))))
    )


@contextlib.contextmanager
def server(answer: Talk) -> Iterator[str]:
    """Calls `answer` for each request of a connection with its place and messageID, in a thread; gives its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                link, _ = listening.accept()
                threading.Thread(target=talk, args=(link,), daemon=True).start()

    def talk(link: socket.socket) -> None:
        number = 0
        with link, contextlib.suppress(OSError):
            while request := link.recv(65_536):
                number += 1
                answer(number, number_of(request), link)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"ldap://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def ldap(url: str, seconds: float = 60.0) -> Ldap:
    return Ldap(LdapPlan(url, base="dc=test", tls=False, seconds=seconds))


def saying(*answers: Answer | bytes | list[Answer]) -> Talk:
    """Answers in their order; then silence."""

    def talk(place: int, number: int, link: socket.socket) -> None:
        if place <= len(answers):
            said = answers[place - 1]
            for one in said if isinstance(said, list) else [said]:
                link.sendall(one if isinstance(one, bytes) else one(number))

    return talk


def test_a_user_comes_in() -> None:
    with server(saying(bound, [entry(b"uid=anna,dc=test"), done()])) as url:
        assert ldap(url).find(ANNA) == Person(("anna@home.test",))


def dribble(place: int, number: int, link: socket.socket) -> None:
    """An octet now and then, of an answer that never ends."""
    link.sendall(b"\x30\x84\x7f\xff\xff\xff")
    for _ in range(100):
        link.sendall(b"\x00")
        time.sleep(0.1)


def flood(place: int, number: int, link: socket.socket) -> None:
    """An answer without an end, as fast as it is read."""
    link.sendall(b"\x30\x84\x7f\xff\xff\xff")
    with contextlib.suppress(OSError):
        for sent in range(64):
            link.sendall(b"\x00" * 1024 * 1024)
            flooded.append(sent)


flooded: list[int] = []


def test_an_answer_has_an_end() -> None:
    with server(flood) as url, pytest.raises(NoAnswer, match="too long"):
        Ldap(LdapPlan(url, base="dc=test", tls=False, seconds=30.0)).find(ANNA)
    assert len(flooded) < 60  # the rest of 64 MiB was not read


@pytest.mark.parametrize(
    "answer",
    [
        saying(),  # a bind without an answer
        saying(bound),  # a search without one
        lambda place, number, link: link.close(),
        saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        saying(b"\x30\x84\xff\xff\xff\xff"),
        saying(b"\x30\x80" * 2_000),
        saying(b"\x16\x03\x01" + b"\0" * 200),
        saying(lambda number: message(number, 0x61, b"")),
        saying(lambda number: message(number + 9, 0x61, SUCCESS)),  # an answer to something else
        saying(lambda number: message(number, 0x65, SUCCESS)),  # a search result for a bind
        saying(bound, [entry(b""), done()]),  # a user without a name: a bind as nobody
        saying(bound, [entry(b"uid=a,dc=test"), entry(b"uid=b,dc=test"), done()]),
        saying(bound, done(b"\x0a\x01\x0a\x04\x00\x04\x00")),  # referral
        saying(bound, done(b"\x0a\x01\x01\x04\x00\x04\x00")),  # operationsError
        saying(bound, [entry(b"uid=" + b"x" * 9_000), done()]),
        dribble,
    ],
)  # fmt: skip
def test_what_is_no_answer_lets_nobody_in(answer: Talk) -> None:
    with server(answer) as url:
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            ldap(url, 1.0).prove(ANNA, "secret")
        assert time.monotonic() - began < 30  # the bound is a second for each connection


def test_an_empty_password_is_not_even_asked_for() -> None:
    """RFC 4513 §5.1.2: the server would say yes, and mean nobody."""
    asked: list[int] = []

    def answer(place: int, number: int, link: socket.socket) -> None:
        asked.append(number)
        link.sendall(bound(number))

    with server(answer) as url:
        assert ldap(url).prove(ANNA, "") is None
        assert ldap(url).prove(ANNA, "\0") is None
    assert asked == []


def test_an_entry_without_an_address_is_the_one_that_was_asked_for() -> None:
    with server(saying(bound, [entry(b"uid=anna,dc=test", b""), done()])) as url:
        assert ldap(url).find(ANNA) == Person(())


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(NoAnswer, match="does not answer"):
        ldap(f"ldap://127.0.0.1:{port}").find(ANNA)


@pytest.mark.parametrize("password", ["\u00ad", "\u200d\u2060", "bell\a"])
def test_a_password_that_sasl_does_not_allow_is_a_wrong_one(password: str) -> None:
    """RFC 4513 §5.1.2, RFC 4013 §2.1, §2.3: nothing may be left of it for an anonymous bind, and a directory that was
    not asked is not down."""
    asked: list[int] = []
    with server(lambda place, number, link: asked.append(number)) as url:
        assert ldap(url).prove(ANNA, password) is None
    assert asked == []


def test_an_emoji_may_be_in_a_password() -> None:
    with server(saying(bound, [entry(b"uid=anna,dc=test"), done()], bound)) as url:
        assert ldap(url).prove(ANNA, "secret \N{OLD KEY}") == Person(("anna@home.test",))


def test_a_connection_that_is_closed_is_not_opened_anew() -> None:
    """RFC 4513 §3.1.1: TLS was agreed on that connection, and would not be on another."""
    plan = Ldap(LdapPlan("ldap://127.0.0.1:1", base="dc=test", bind_password="hush"))
    with pytest.raises(NoAnswer, match="closed the connection"):
        plan._bound(SimpleNamespace(closed=True))
    assert "hush" not in repr(plan._plan)
