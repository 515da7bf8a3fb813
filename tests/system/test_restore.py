"""Mail is removed by mail programs and comes back by `posthouse restore` while the server runs: mbsync, POP3, IDLE."""

import imaplib
import json
import poplib
import smtplib
from pathlib import Path

import pytest

from system.running import Person, Running
from system.test_corpus import Mbsync

LETTER = b"From: Eve <eve@far.test>\r\nSubject: letter %d\r\nMessage-ID: <letter%d@far.test>\r\n\r\nHello %d.\r\n"


def test_what_mbsync_removes_comes_back_to_it(posthouse: Running, tmp_path: Path) -> None:
    anna = posthouse.person()
    anna.receive(*(LETTER % (n, n, n) for n in range(5)))
    folder = tmp_path / "mail"
    folder.mkdir()
    mbsync = Mbsync(posthouse, anna, folder)
    mbsync.run()
    before = subjects(folder)
    assert len(before) == 5
    for file in sorted((folder / "INBOX").glob("[cn]*/*"))[:3]:
        file.unlink()
    mbsync.run()
    assert len(anna.messages()) == 2
    found = json.loads(posthouse.command("restore", anna.address, "--json"))
    assert [(one["mailbox"], one["from"]) for one in found] == [("INBOX", "Eve <eve@far.test>")] * 3
    assert "by IMAP from 127.0.0.1" in found[0]["by"]
    assert posthouse.command("restore", anna.address, "--all") == "Brought back 3 messages to INBOX.\n"
    mbsync.run()
    assert subjects(folder) == before
    assert json.loads(posthouse.command("restore", anna.address, "--json")) == []


def subjects(folder: Path) -> list[bytes]:
    """Of all messages in the maildir of INBOX; mbsync writes a field of its own into each, so its octets differ."""
    octets = [file.read_bytes() for file in (folder / "INBOX").glob("[cn]*/*")]
    return sorted(line for one in octets for line in one.splitlines() if line.startswith(b"Subject:"))


def test_an_open_session_hears_of_it_whatever_its_worker(posthouse: Running) -> None:
    ben = posthouse.person()
    ben.receive(LETTER % (1, 1, 1))
    post = poplib.POP3_SSL("localhost", posthouse.ports.pop3s, context=posthouse.trust(), timeout=60)
    post.user(ben.address)
    post.pass_(ben.password)
    with ben.imap() as first, ben.imap() as second, ben.imap() as third:
        sessions = (first, second, third)
        for client in sessions:
            assert client.select()[1] == [b"1"]
        post.dele(1)
        post.quit()
        for client in sessions:
            client.noop()
            assert client.untagged_responses.pop("EXPUNGE") == [b"1"]
        assert "by POP3 from 127.0.0.1" in posthouse.command("restore", ben.address)
        posthouse.command("restore", ben.address, "--subject", "LETTER 1")
        for client in sessions:
            client.noop()
            assert client.untagged_responses["EXISTS"][-1] == b"1"
            assert client.uid("SEARCH", "ALL")[1] == [b"2"]
    told = posthouse.command("trace", "letter1@far.test")
    assert "removed it from INBOX by POP3" in told
    assert "brought back to INBOX, by `posthouse restore`" in told


def test_a_removed_user_comes_back_to_mbsync(posthouse: Running, tmp_path: Path) -> None:
    """With UIDs and passwords, so that a mail program notices nothing but a pause (decision 0139)."""
    carl = posthouse.person()
    phone = carl.device("Phone")
    carl.receive(*(LETTER % (n, n, n) for n in range(5)))
    folder = tmp_path / "mail"
    folder.mkdir()
    mbsync = Mbsync(posthouse, carl, folder)
    mbsync.run()
    before, names = subjects(folder), sorted(path.name for path in (folder / "INBOX").glob("[cn]*/*"))
    client = connect(carl)
    client.select()
    was = client.response("UIDVALIDITY"), client.uid("SEARCH", "ALL")
    posthouse.command("user", "remove", carl.address, "--yes")
    assert client.readline().startswith(b"* BYE This login has been changed")
    client.shutdown()
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        connect(carl)
    assert rcpt(posthouse, carl.address) == 550
    assert carl.address in posthouse.command("user", "list", "--removed")
    assert f"{carl.address} is a user again, with 5 messages" in posthouse.command("user", "restore", carl.address)
    for who in (carl, phone):
        with who.imap() as client:
            client.select()
            assert (client.response("UIDVALIDITY"), client.uid("SEARCH", "ALL")) == was
    assert rcpt(posthouse, carl.address) == 250
    carl.receive(LETTER % (9, 9, 9))
    mbsync.run()
    assert len(subjects(folder)) == 6
    assert set(subjects(folder)) > set(before)
    assert set(names) < {path.name for path in (folder / "INBOX").glob("[cn]*/*")}, "nothing was fetched again"


def connect(who: Person) -> imaplib.IMAP4:
    client = imaplib.IMAP4_SSL("localhost", who.home.ports.imaps, ssl_context=who.home.trust(), timeout=60)
    try:
        client.login(who.address, who.password)
    except imaplib.IMAP4.error:
        client.shutdown()
        raise
    return client


def rcpt(running: Running, address: str) -> int:
    with smtplib.SMTP("127.0.0.1", running.ports.smtp, timeout=60) as stranger:
        stranger.ehlo("client.test")
        stranger.mail("eve@far.test")
        return stranger.rcpt(address)[0]
