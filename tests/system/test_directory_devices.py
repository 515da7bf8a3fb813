"""Device passwords of users of a real directory at the real program: OpenLDAP's slapd, and a table in SQLite (decision
0138)."""

import contextlib
import imaplib
import json
import re
import smtplib
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import apsw
import pytest
from scramp import ScramClient

from foreign_hashes import digest
from system.running import Running
from system.slapd import PEOPLE, SEARCHER, SECRET, Slapd, real_ldap

CARL = "carl@home.test"
_PASSWORD = re.compile(r"^    ((?:[a-z2-9]{4}-){4}[a-z2-9]{4})$", re.MULTILINE)
TRIES = 100  # looks at an answer that may be remembered for a moment
LOCKED = "the directory does not know the user, or has locked the user"
MORE = "remember_seconds = 0.2\nseconds = 4\n"


def settle(server: Running, section: str) -> None:
    server.stop()
    server.settings.write_text(f"{server.settings.read_text()}\n[directory]\n{section}{MORE}")
    server.start()


def device(server: Running, *more: str) -> str:
    found = _PASSWORD.search(server.command("user", "device", "add", CARL, *more))
    assert found is not None
    return found[1]


@contextlib.contextmanager
def imap(server: Running) -> Iterator[imaplib.IMAP4]:
    client = imaplib.IMAP4_SSL("localhost", server.ports.imaps, ssl_context=server.trust(), timeout=60)
    try:
        yield client
    finally:
        client.shutdown()


def by_scram(client: imaplib.IMAP4, password: str, mechanism: str) -> None:
    """RFC 5802 by a client that others wrote; -PLUS is bound to the server's certificate (RFC 5929 §4)."""
    shown = client.socket().getpeercert(binary_form=True)  # type: ignore[attr-defined]
    binding = ("tls-server-end-point", sha256(shown).digest()) if mechanism.endswith("PLUS") else None
    peer = ScramClient([mechanism], CARL, password, channel_binding=binding)
    steps: list[Callable[[bytes], bytes]] = [
        lambda _: peer.get_client_first().encode(),
        lambda said: (peer.set_server_first(said.decode()), peer.get_client_final().encode())[1],
        lambda said: (peer.set_server_final(said.decode()), b"")[1],
    ]
    client.authenticate(mechanism, lambda said: steps.pop(0)(said))


def comes_in(server: Running, password: str, mechanism: str = "") -> str:
    """How a login ends: "" or what the server says."""
    with imap(server) as client:
        try:
            by_scram(client, password, mechanism) if mechanism else client.login(CARL, password)
        except imaplib.IMAP4.error as error:
            return str(error)
        return ""


def until(server: Running, password: str, said: str, mechanism: str = "") -> None:
    """Wait until what the directory said before is forgotten, by each worker."""
    pause = threading.Event()
    for _ in range(TRIES):
        heard = comes_in(server, password, mechanism)
        if (said in heard) if said else not heard:
            return
        pause.wait(0.1)
    raise AssertionError(f"still not {said or 'let in'}")


def noops(client: imaplib.IMAP4) -> None:
    """A session that does something now and then."""
    pause = threading.Event()
    for _ in range(TRIES):
        client.noop()
        pause.wait(0.1)


def life(server: Running, lock: Callable[[], None], unlock: Callable[[], None]) -> None:
    """All that a local user's device passwords have; and what the directory says of the user is in force."""
    laptop = device(server, "Laptop", "--protocols", "imap", "--expires", "90d")
    sending = device(server, "Sending", "--protocols", "smtp")
    for mechanism in ("", "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
        assert comes_in(server, laptop, mechanism) == ""
    for mechanism in ("", "SCRAM-SHA-256"):
        assert "AUTHENTICATIONFAILED" in comes_in(server, sending, mechanism)
    assert comes_in(server, "secret") == ""
    with smtplib.SMTP_SSL("localhost", server.ports.submissions, context=server.trust(), timeout=60) as client:
        client.login(CARL, sending)
        client.sendmail(CARL, CARL, f"From: {CARL}\r\nSubject: hello\r\n\r\nhello\r\n")
    with imap(server) as open_session:
        open_session.login(CARL, laptop)
        assert open_session.select() == ("OK", [b"1"])
        lock()
        until(server, laptop, "AUTHENTICATIONFAILED")
        until(server, laptop, "AUTHENTICATIONFAILED", "SCRAM-SHA-256")
        with pytest.raises(imaplib.IMAP4.abort, match="has been changed or removed"):
            noops(open_session)
    unlock()
    until(server, laptop, "")
    until(server, laptop, "", "SCRAM-SHA-256")
    server.command("user", "device", "revoke", CARL, "Laptop")
    assert "AUTHENTICATIONFAILED" in comes_in(server, laptop, "SCRAM-SHA-256")
    told(server)


def told(server: Running) -> None:
    """What the owner sees of it, some seconds later."""
    pause = threading.Event()
    for _ in range(TRIES):
        rows = json.loads(server.command("user", "logins", CARL, "--json"))
        refused = {row["mechanism"] for row in rows if row["reason"] == LOCKED}
        devices = {row["device"] for row in rows if row["reason"] is None}
        if {"PLAIN", "SCRAM-SHA-256"} & refused and {"Laptop", "Sending"} <= devices:
            break  # each worker writes by its own clock
        pause.wait(0.1)
    assert {"PLAIN", "SCRAM-SHA-256"} & refused
    assert {"Laptop", "Sending"} <= devices
    [known] = json.loads(server.command("user", "device", "list", CARL, "--json"))
    assert (known["device"], known["last_use"]["protocol"]) == ("Sending", "smtp")


def of_slapd(slapd: Slapd) -> str:
    return (
        f'url = "{slapd.url}"\nauthorities = "{slapd.ca}"\nbase = "{PEOPLE}"\n'
        f'bind_dn = "{SEARCHER}"\nbind_password = "{SECRET}"\n'
    )


def test_with_ldap(fresh: Running, tmp_path: Path) -> None:
    """RFC 4511 §4.5.1.8: the lock is an operational attribute, asked for by name."""
    entry = f"dn: uid=carl,{PEOPLE}\nchangetype: modify\n"
    folder = tmp_path / "slapd"
    folder.mkdir()
    with real_ldap(folder, {"carl": (CARL, "secret")}) as slapd:
        settle(fresh, of_slapd(slapd))
        life(
            fresh,
            lambda: slapd.change(f"{entry}add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n"),
            lambda: slapd.change(f"{entry}delete: pwdAccountLockedTime\n"),
        )
        phone = device(fresh, "Phone")
        with imap(fresh) as session:
            session.login(CARL, phone)
            slapd.remove("carl")
            until(fresh, phone, "AUTHENTICATIONFAILED")
            slapd.add("carl", CARL, "secret")
            until(fresh, phone, "")
    until(fresh, phone, "UNAVAILABLE")
    until(fresh, phone, "UNAVAILABLE", "SCRAM-SHA-256")
    assert "AUTHENTICATIONFAILED" in comes_in(fresh, "wrong", "SCRAM-SHA-256")


def test_with_a_table(fresh: Running, tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "people.db"))
    connection.execute("CREATE TABLE person (mail TEXT, hash TEXT, active INT)")
    connection.execute("INSERT INTO person VALUES (?, ?, 1)", (CARL, digest("sha512", "SSHA512")))
    query = "SELECT mail, hash, active FROM person WHERE mail = :address"
    settle(fresh, f'url = "sqlite:{tmp_path}/people.db"\nquery = "{query}"\n')
    life(
        fresh,
        lambda: connection.execute("UPDATE person SET active = 0") and None,
        lambda: connection.execute("UPDATE person SET active = 1") and None,
    )
