"""Mail is fetched by POP3 by programs that people really use: curl, fetchmail, getmail, mpop, poplib (RFC 1939)."""

import poplib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from system.running import Person, Running

NewPerson = Callable[..., Person]
LETTERS = [
    b"From: eve@far.test\r\nTo: anna@home.test\r\nSubject: first\r\n\r\n.\r\n..dots\r\nend\r\n",
    b"From: eve@far.test\r\nSubject: second\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n",
    b"From: eve@far.test\r\nSubject: third\r\n\r\n" + b"A long line of text, again and again.\r\n" * 40_000,
]


@pytest.fixture
def anna(person: NewPerson) -> Person:
    """Somebody with three messages."""
    anna = person()
    anna.receive(*LETTERS)
    return anna


def run(*command: str | Path, **options: str) -> bytes:
    """What a program printed; it must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, (command[0], done.stdout[-2_000:], done.stderr[-2_000:])
    return bytes(done.stdout)


def needs(program: str) -> None:
    """Skip where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here: sudo apt-get install --no-install-recommends {program}")


def normal(octets: bytes) -> bytes:
    """Without CRs, which some programs leave out of what they write, and without an mbox's quoting."""
    return octets.replace(b"\r\n", b"\n")


def curl(posthouse: Running, who: Person, url: str, *more: str) -> bytes:
    """curl with Anna's password."""
    user = f"{who.address}:{who.password}"
    return run("curl", "--silent", "--show-error", "--cacert", posthouse.ca, "--user", user, "--url", url, *more)


@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN", ""])
def test_curl(posthouse: Running, anna: Person, auth: str) -> None:
    """The list, messages, and one removed; with TLS from the first octet and by STLS, and the mechanisms."""
    more = ["--login-options", f"AUTH={auth}"] if auth else []
    secure = f"pop3s://localhost:{posthouse.ports.pop3s}/"
    plain = f"pop3://localhost:{posthouse.ports.pop3}/"
    listed = curl(posthouse, anna, secure, *more)
    assert [line.split()[0] for line in listed.splitlines()] == [b"1", b"2", b"3"]
    kept = anna.messages()
    for number, octets in enumerate(kept, 1):
        assert curl(posthouse, anna, f"{secure}{number}", *more) == octets
        assert curl(posthouse, anna, f"{plain}{number}", "--ssl-reqd", *more) == octets
    curl(posthouse, anna, f"{secure}2", "--request", "DELE", "--head", *more)
    assert anna.messages() == [kept[0], kept[2]]


def test_poplib(posthouse: Running, anna: Person) -> None:
    kept = anna.messages()
    client = poplib.POP3("localhost", posthouse.ports.pop3, timeout=60)
    assert client.stls(posthouse.trust()).startswith(b"+OK")
    assert {*client.capa()["SASL"]} == {
        *(f"SCRAM-SHA-{kind}" for kind in ("1", "1-PLUS", "256", "256-PLUS")),
        "PLAIN",
        "LOGIN",
    }
    assert client.utf8().startswith(b"+OK")
    client.user(anna.address)
    client.pass_(anna.password)
    assert client.stat() == (3, sum(map(len, kept)))
    for number, octets in enumerate(kept, 1):
        assert b"\r\n".join(client.retr(number)[1]) + b"\r\n" == octets
    assert client.top(1, 0)[1][-1] == b""
    ids = client.uidl()[1]
    client.dele(1)
    client.quit()
    again = poplib.POP3_SSL("localhost", posthouse.ports.pop3s, context=posthouse.trust(), timeout=60)
    again.user(anna.address)
    again.pass_(anna.password)
    assert [one.split()[1] for one in again.uidl()[1]] == [one.split()[1] for one in ids[1:]]
    again.quit()


@pytest.mark.parametrize("ssl", [True, False])
def test_fetchmail(posthouse: Running, anna: Person, tmp_path: Path, *, ssl: bool) -> None:
    """It leaves mail on the server and knows by UIDL what it has; then it takes it away."""
    needs("fetchmail")
    kept = anna.messages()
    box = tmp_path / "box"
    port, mode = (posthouse.ports.pop3s, "ssl") if ssl else (posthouse.ports.pop3, "sslproto tls1.2+")
    settings = tmp_path / "fetchmailrc"
    settings.write_text(
        f'poll localhost proto POP3 port {port} uidl user "{anna.address}" password "{anna.password}" {mode}'
        f' sslcertck sslcertfile "{posthouse.ca}" mda "cat >> {box}"\n'
    )
    settings.chmod(0o600)
    home = ("--fetchmailrc", str(settings), "--idfile", str(tmp_path / "ids"), "--pidfile", str(tmp_path / "pid"))
    environment = {"FETCHMAILHOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    run("fetchmail", *home, "--keep", "--silent", env=environment)  # type: ignore[arg-type]
    for subject in (b"first", b"second", b"third"):
        assert box.read_bytes().count(b"Subject: " + subject) == 1
    assert normal(LETTERS[2].partition(b"\r\n\r\n")[2]) in normal(box.read_bytes())
    nothing = subprocess.run(
        ["fetchmail", *home, "--keep"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert nothing.returncode == 1, nothing  # no new mail
    assert anna.messages() == kept
    run("fetchmail", *home, "--nokeep", "--all", "--silent", env=environment)  # type: ignore[arg-type]
    assert anna.messages() == []


def test_getmail(posthouse: Running, anna: Person, tmp_path: Path) -> None:
    needs("getmail")
    kept = anna.messages()
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "mail" / folder).mkdir(parents=True)
    settings = tmp_path / "getmailrc"
    settings.write_text(
        f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {posthouse.ports.pop3s}\n"
        f"username = {anna.address}\npassword = {anna.password}\nca_certs = {posthouse.ca}\n"
        f"[destination]\ntype = MDA_external\npath = /bin/sh\nunixfrom = false\nallow_root_commands = true\n"
        f"arguments = ('-c', 'cat > {tmp_path}/mail/new/$$')\n"
        "[options]\nread_all = false\ndelete = false\ndelivered_to = false\nreceived = false\n"
    )
    for _ in range(2):  # the second time there is nothing new
        run("getmail", "--getmaildir", tmp_path, "--rcfile", settings)
        got = sorted(normal(path.read_bytes()) for path in (tmp_path / "mail" / "new").iterdir())
        assert got == sorted(normal(octets) for octets in kept)
    run("getmail", "--getmaildir", tmp_path, "--rcfile", settings, "--delete", "--all")
    assert anna.messages() == []


@pytest.mark.parametrize("auth", ["scram-sha-256", "plain", "user"])
def test_mpop(posthouse: Running, anna: Person, tmp_path: Path, auth: str) -> None:
    """It pipelines where that is offered."""
    needs("mpop")
    kept = anna.messages()
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "mail" / folder).mkdir(parents=True)
    settings = tmp_path / "mpoprc"
    settings.write_text(
        f"account default\nhost localhost\nport {posthouse.ports.pop3}\ntls on\ntls_starttls on\n"
        f"tls_trust_file {posthouse.ca}\nauth {auth}\nuser {anna.address}\npassword {anna.password}\n"
        f"uidls_file {tmp_path}/ids\nkeep on\nreceived_header off\ndelivery maildir {tmp_path}/mail\n"
    )
    settings.chmod(0o600)
    for _ in range(2):
        run("mpop", "--file", settings, "--quiet")
        got = sorted(normal(path.read_bytes()) for path in (tmp_path / "mail" / "new").iterdir())
        assert got == sorted(normal(octets) for octets in kept)
    run("mpop", "--file", settings, "--quiet", "--keep=off", "--only-new=off")
    assert anna.messages() == []


def test_the_journey_tells_of_pop3(posthouse: Running, anna: Person) -> None:
    client = poplib.POP3_SSL("localhost", posthouse.ports.pop3s, context=posthouse.trust(), timeout=60)
    client.user(anna.address)
    client.pass_(anna.password)
    client.retr(1)
    client.dele(1)
    client.quit()
    told = ""
    for _ in range(50):
        told = posthouse.command("trace", anna.address)
        if "fetched it by POP3" in told and "removed it from INBOX by POP3" in told:
            return
    raise AssertionError(told)
