"""Device passwords with programs that people really use, and who came in, while the server runs with two workers."""

import imaplib
import json
import subprocess
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from system.running import Person, Running

NewPerson = Callable[..., Person]
SEEN_WAIT = 60.0  # seconds for what the workers write within three


def run(*command: object, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(word) for word in command], input=text, capture_output=True, timeout=60, check=False)


def curl(who: Person, url: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    return run("curl", "--silent", "--show-error", "--cacert", who.home.ca, "--user", f"{who.address}:{who.password}",
               "--url", url, *more)  # fmt: skip


def told(who: Person, *more: str) -> list[dict[str, object]]:
    """What `posthouse user logins` says."""
    rows: list[dict[str, object]] = json.loads(who.home.command("user", "logins", who.address, "--json", *more))
    return rows


def until(look: Callable[[], list[Any]], wanted: Callable[[list[Any]], object]) -> list[Any]:
    """What is there to see when it is as wanted, or when it has had its time to become so."""
    deadline = time.monotonic() + SEEN_WAIT
    while not wanted(rows := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return rows


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
def test_msmtp_and_swaks_send_with_a_device_password(
    posthouse: Running, person: NewPerson, tmp_path: Path, mechanism: str
) -> None:
    anna = person().device("msmtp", "--protocols", "smtp")
    letter = EmailMessage()
    letter["From"] = letter["To"] = anna.address
    letter["Subject"] = "from a device"
    letter.set_content("Hello\n")
    configuration = tmp_path / "msmtprc"
    configuration.write_text(
        f"account default\nhost localhost\nport {posthouse.ports.submission}\nfrom {anna.address}\n"
        f"tls on\ntls_starttls on\ntls_trust_file {posthouse.ca}\n"
        f"auth {mechanism}\nuser {anna.address}\npassword {anna.password}\n"
    )
    configuration.chmod(0o600)
    done = run("msmtp", "--file", configuration, anna.address, text=bytes(letter))
    assert done.returncode == 0, done.stderr.decode()
    if mechanism != "scram-sha-256":
        done = run("swaks", "--server", "127.0.0.1", "--port", posthouse.ports.submission, "--tls", "--auth", mechanism,
                   "--auth-user", anna.address, "--auth-password", anna.password, "--from", anna.address,
                   "--to", anna.address)  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()
    # It does not open the mailbox, and nothing says why.
    done = curl(anna, f"imaps://localhost:{posthouse.ports.imaps}/INBOX?ALL")
    assert done.returncode == 67, done.stderr.decode()  # curl: the login was denied


@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN"])
def test_curl_reads_with_one_by_imap_and_pop3(posthouse: Running, person: NewPerson, auth: str) -> None:
    anna = person()
    anna.receive(b"Subject: hello\r\n\r\nx\r\n")
    laptop = anna.device("curl", "--protocols", "imap,pop3")
    for url in (f"imaps://localhost:{posthouse.ports.imaps}/INBOX?ALL", f"pop3s://localhost:{posthouse.ports.pop3s}/1"):
        done = curl(laptop, url, "--login-options", f"AUTH={auth}")
        assert done.returncode == 0, done.stderr.decode()
        assert b"SEARCH 1" in done.stdout or b"Subject: hello" in done.stdout


def test_taken_back_it_ends_sessions_of_every_worker(posthouse: Running, person: NewPerson) -> None:
    anna = person().device("Phone", "--expires", "1d")
    clients = [connect(posthouse) for _ in range(12)]  # of both workers
    for client in clients:
        client.login(anna.address, anna.password)
    posthouse.command("user", "device", "revoke", anna.address, "Phone")
    late = connect(posthouse)
    with pytest.raises(imaplib.IMAP4.error, match="is not for this"):
        late.login(anna.address, anna.password)
    late.shutdown()
    for client in clients:  # which say nothing: they hear of it before their next command
        assert client.readline().startswith(b"* BYE This login has been changed")
        assert client.readline() == b""
        client.shutdown()


def connect(running: Running) -> imaplib.IMAP4:
    return imaplib.IMAP4_SSL("localhost", running.ports.imaps, ssl_context=running.trust(), timeout=60)


def test_only_devices_come_in(posthouse: Running, person: NewPerson) -> None:
    anna = person()
    phone = anna.device("Phone")
    posthouse.command("user", "device", "only", anna.address)
    url = f"imaps://localhost:{posthouse.ports.imaps}/INBOX?ALL"
    assert curl(anna, url).returncode == 67
    assert curl(phone, url).returncode == 0
    rows = until(lambda: told(anna, "--failed"), bool)
    assert {row["reason"] for row in rows} == {"mail programs need a device password"}


def test_who_came_in_is_told_and_survives_a_kill(fresh: Running) -> None:
    anna = fresh.person()
    laptop = anna.device("Laptop")
    with laptop.imap() as client:
        client.xatom("ID", '("name" "Testbird" "version" "7")')
        until(lambda: told(anna), bool)
    fresh.kill()
    fresh.start()
    [row] = told(anna)
    assert (row["service"], row["mechanism"], row["device"], row["result"]) == ("imap", "LOGIN", "Laptop", "came in")
    assert str(row["program"]).startswith("Testbird")
    assert str(row["tls"]).startswith("TLSv1.3")
    assert row["ip"] == "127.0.0.1"
    [known] = json.loads(fresh.command("user", "device", "list", anna.address, "--json"))
    assert (known["last_use"]["protocol"], known["last_use"]["ip"]) == ("imap", "127.0.0.1")
    assert known["last_use"]["program"].startswith("Testbird")
    done = run("swaks", "--server", "127.0.0.1", "--port", fresh.ports.submission, "--tls", "--auth", "PLAIN",
               "--auth-user", anna.address, "--auth-password", "wrong", "--helo", "laptop.test",
               "--quit-after", "AUTH")  # fmt: skip
    assert done.returncode == 28
    [row] = until(lambda: told(anna, "--failed"), bool)
    assert (row["program"], row["reason"], row["mechanism"]) == ("laptop.test", "wrong password", "PLAIN")
