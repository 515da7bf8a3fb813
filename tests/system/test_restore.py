"""Mail is removed by mail programs and comes back by `posthouse restore` while the server runs: mbsync, POP3, IDLE."""

import json
import poplib
from pathlib import Path

from system.running import Running
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
