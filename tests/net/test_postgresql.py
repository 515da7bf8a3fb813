"""net/postgresql.py: places of a query, and servers that mean harm, or are broken. The real one is in
system/test_postgresql.py."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.net.directory import NoAnswer
from posthouse.net.postgresql import Postgres, PostgresPlan, has_place, numbered
from system.running import make_certificate

NAMED = {"address": "anna@home.test", "local": "anna", "domain": "home.test"}
Talk = Callable[[socket.socket], None]


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("SELECT a FROM t WHERE b = :address;", "SELECT a FROM t WHERE b = $1", ("address",)),
        ("b = :local AND c=:domain OR b=:local", "b = $1 AND c=$2 OR b=$3", ("local", "domain", "local")),
        ("a::text = :address::text", "a::text = $1::text", ("address",)),
        ("':address' = 'it''s :local' || :domain", "':address' = 'it''s :local' || $1", ("domain",)),
        ("E'\\':local' = e'\\\\' || :domain", "E'\\':local' = e'\\\\' || $1", ("domain",)),
        ('":address" = "a"":local"', '":address" = "a"":local"', ()),
        ("-- :address\n:local", "-- :address\n$1", ("local",)),
        ("/* :address\n*/ :local", "/* :address\n*/ $1", ("local",)),
        ("$$ :address $$ || $q$ $$ :local $q$ || :domain", "$$ :address $$ || $q$ $$ :local $q$ || $1", ("domain",)),
        ("a[1:2] = :addresses OR :Local", "a[1:2] = :addresses OR :Local", ()),
    ],
)
def test_places_are_numbered(query: str, text: str, found: tuple[str, ...]) -> None:
    assert numbered(query) == (text, found)


def test_a_query_depends_on_who_is_asked_for() -> None:
    assert has_place("SELECT :address")
    assert has_place("SELECT :local, :domain")
    assert not has_place("SELECT :domain")
    assert not has_place("SELECT ':address'")


@contextlib.contextmanager
def server(answer: Talk) -> Iterator[int]:
    """A port on which each connection is `answer`'s, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listening.accept()
                threading.Thread(target=talk, args=(link,), daemon=True).start()

    def talk(link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            answer(link)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def message(kind: bytes, octets: bytes) -> bytes:
    """A message of the protocol, PostgreSQL 15 §55.7."""
    return kind + struct.pack("!i", len(octets) + 4) + octets


LET_IN = message(b"R", struct.pack("!i", 0)) + message(b"S", b"server_version\x0015.0\0") + message(b"Z", b"I")


def silent(link: socket.socket) -> None:
    while link.recv(65_536):
        pass


def drips(link: socket.socket) -> None:
    """An octet now and then, of a message that never ends."""
    link.sendall(b"R\x00\x00\xff\xff")
    while True:
        link.sendall(b"\0")
        threading.Event().wait(0.02)


def garbage(link: socket.socket) -> None:
    link.recv(65_536)
    link.sendall(bytes(range(256)) * 16)


def closes(link: socket.socket) -> None:
    link.recv(65_536)


def no_tls(link: socket.socket) -> None:
    link.recv(65_536)
    link.sendall(b"N")
    silent(link)


def more_than_tls(link: socket.socket) -> None:
    """What somebody in between puts before the handshake."""
    link.recv(65_536)
    link.sendall(b"S" + LET_IN)
    silent(link)


def unknown_way_in(link: socket.socket) -> None:
    link.recv(65_536)
    link.sendall(message(b"R", struct.pack("!i", 99)))
    silent(link)


def silent_after_the_login(link: socket.socket) -> None:
    link.recv(65_536)
    link.sendall(LET_IN)
    silent(link)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize(
    "talk", [silent, drips, garbage, closes, no_tls, more_than_tls, unknown_way_in, silent_after_the_login]
)
def test_what_is_no_answer_lets_nobody_in(talk: Talk, tls: bool) -> None:
    with server(talk) as port:
        plan = PostgresPlan("127.0.0.1", port, "posthouse", "mail", "hushed", tls=tls, seconds=0.3)
        table = Postgres(plan, "SELECT :address, 'x'")
        try:
            for _ in range(2):
                with pytest.raises(NoAnswer) as caught:
                    table.rows(NAMED)
                assert "hushed" not in str(caught.value)
        finally:
            table.close()


def test_an_answer_has_an_end() -> None:
    """The octets are counted while they come, and not kept."""
    sent: list[int] = []

    def floods(link: socket.socket) -> None:
        link.recv(65_536)
        link.sendall(LET_IN)
        link.recv(65_536)
        link.sendall(b"D" + struct.pack("!i", 1 << 30))
        while True:
            sent.append(link.send(b"x" * 65_536))

    with server(floods) as port:
        table = Postgres(
            PostgresPlan("127.0.0.1", port, "posthouse", "mail", tls=False, seconds=30), "SELECT :address, 'x'"
        )
        try:
            with pytest.raises(NoAnswer, match="the answer is too long"):
                table.rows(NAMED)
        finally:
            table.close()
    assert sum(sent) < 64 * 1024 * 1024


def test_who_waits_at_the_end_gets_no_answer() -> None:
    came = threading.Event()

    def comes(link: socket.socket) -> None:
        came.set()
        silent(link)

    with server(comes) as port:
        table = Postgres(
            PostgresPlan("127.0.0.1", port, "posthouse", "mail", tls=False, seconds=60), "SELECT :address, 'x'"
        )
        said: list[str] = []

        def ask() -> None:
            try:
                table.rows(NAMED)
            except NoAnswer as error:
                said.append(str(error))

        waits = threading.Thread(target=ask)
        waits.start()
        assert came.wait(60)
        table.close()
        waits.join()
        table.close()  # once is enough, and twice is no harm
    assert said == ["the server ends"]


def test_a_host_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for host, said in (("db.test", "the name db.test is not known"), ("x" * 300, "postgresql://")):
        table = Postgres(PostgresPlan(host, 5432, "posthouse", "db"), "SELECT :address, 'x'")
        try:
            with pytest.raises(NoAnswer, match=said):
                table.rows(NAMED)
        finally:
            table.close()


def test_a_server_that_stands_still_after_the_handshake_is_left_at_once(tmp_path: Path) -> None:
    """Nobody waits for its goodbye."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    left = threading.Event()

    def stalls(link: socket.socket) -> None:
        link.recv(8)
        link.sendall(b"S")
        with context.wrap_socket(link, server_side=True, suppress_ragged_eofs=False) as secure:
            with contextlib.suppress(OSError):  # ssl.SSLEOFError is one: no goodbye
                while secure.recv(65_536):
                    pass
            left.set()

    with server(stalls) as port:
        plan = PostgresPlan("localhost", port, "posthouse", "mail", authorities=str(certificate), seconds=0.5)
        table = Postgres(plan, "SELECT :address, 'x'")
        try:
            with pytest.raises(NoAnswer, match="no answer within"):
                table.rows(NAMED)
            assert left.wait(20)  # TLS would wait 30 s
        finally:
            table.close()
