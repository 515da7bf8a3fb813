"""All real mail goes in from eight clients at once, comes out byte for byte, and mbsync agrees with it."""

import hashlib
import os
import re
import smtplib
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from system.running import Person, Running

CLIENTS = 8
TRACE = re.compile(rb"Return-Path: <m(\d+)@far\.test>\r\nReceived: from [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def send_share(running: Running, recipient: str, share: list[tuple[int, bytes]]) -> None:
    """One client's share over one connection; the reverse-path carries the number of the message."""
    with smtplib.SMTP("127.0.0.1", running.ports.smtp, timeout=120) as client:
        for number, octets in share:
            client.sendmail(f"m{number}@far.test", [recipient], octets, mail_options=["BODY=8BITMIME"])


def send_all(running: Running, recipient: str, corpus: list[bytes]) -> None:
    numbered = list(enumerate(corpus))
    with ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(send_share, running, recipient, numbered[i::CLIENTS]) for i in range(CLIENTS)]
        for done in waiting:
            done.result()


@pytest.mark.timeout(600)
def test_every_message_byte_for_byte_and_mbsync(fresh: Running, corpus: list[bytes], tmp_path: Path) -> None:
    anna = fresh.person()
    send_all(fresh, anna.address, corpus)
    kept = anna.messages()
    numbers = Counter[int]()
    for octets in kept:
        trace = TRACE.match(octets)
        assert trace, octets[:300]
        number = int(trace[1])
        numbers[number] += 1
        assert octets[trace.end() :] == corpus[number], f"message {number} was changed"
    assert numbers == Counter(range(len(corpus)))
    two_way(fresh, anna, tmp_path / "mail")


def two_way(running: Running, anna: Person, folder: Path) -> None:
    """mbsync both ways: pull all, change both sides, converge; then nothing changes any more."""
    folder.mkdir()
    mbsync = Mbsync(running, anna, folder)
    mbsync.run()
    inbox = folder / "INBOX"
    files = maildir(inbox)
    assert len(files) == len(anna.messages())
    # The near side: a message is read, one is thrown away, a new one is written.
    read, thrown = [inbox / next(name for name in files if f",U={uid}:" in name) for uid in (1, 2)]
    read.rename(inbox / "cur" / (read.name.split(":")[0] + ":2,S"))
    thrown.rename(inbox / "cur" / (thrown.name.split(":")[0] + ":2,T"))
    (folder / "Drafts" / "cur" / "1.new:2,D").write_bytes(b"Subject: a draft\n\nHello\n")
    # The far side: a flag, a deletion, a new mailbox, a new message.
    with anna.imap() as client:
        client.create("Projects/2026")
        client.select("INBOX")
        client.store("10", "+FLAGS", r"\Flagged")
        client.store("20", "+FLAGS", r"\Deleted")
        client.expunge()
    anna.receive(b"Subject: late\r\n\r\nlate\r\n")
    mbsync.run()
    before = everything(anna, folder)
    assert len(before) == 2
    mbsync.run()
    assert everything(anna, folder) == before
    far, near = (len(before["far"]["INBOX"]), len(maildir(inbox)))
    assert far == near == len(files) - 2 + 1
    assert [octets.split(b"\r\n\r\n")[1] for octets in anna.messages("Drafts")] == [b"Hello\r\n"]
    assert sum(1 for name in maildir(inbox) if "F" in name.partition(":2,")[2]) == 1
    assert sum(1 for _, flags in before["far"]["INBOX"].values() if "\\Seen" in flags) == 1


class Mbsync:
    """mbsync with a settings file of its own."""

    def __init__(self, running: Running, anna: Person, folder: Path) -> None:
        self.file = folder.parent / "mbsyncrc"
        self.file.write_text(
            f"FSync no\n\nIMAPAccount far\nHost localhost\nPort {running.ports.imaps}\nSSLType IMAPS\nTimeout 60\n"
            f"User {anna.address}\nPass {anna.password}\nCertificateFile {running.ca}\nSystemCertificates no\n\n"
            "IMAPStore far\nAccount far\n\n"
            f"MaildirStore near\nPath {folder}/\nInbox {folder}/INBOX\nSubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
        )

    def run(self) -> None:
        home = {**os.environ, "HOME": str(self.file.parent)}
        command = ["mbsync", "-c", self.file, "all"]
        done = subprocess.run(command, env=home, capture_output=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]


def maildir(folder: Path) -> dict[str, str]:
    """cur/NAME or new/NAME -> digest of its octets."""
    files = [*folder.glob("cur/*"), *folder.glob("new/*")]
    return {f"{f.parent.name}/{f.name}": hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def everything(anna: Person, folder: Path) -> dict[str, dict[str, dict[object, object]]]:
    """Both sides, whole: uids with flags of every mailbox, names and digests of every file."""
    far: dict[str, dict[object, object]] = {}
    with anna.imap() as client:
        names = [line.decode().rpartition(' "/" ')[2].strip('"') for line in client.list()[1]]
        for name in names:
            count = int(client.select(f'"{name}"', readonly=True)[1][0])
            rows = client.fetch("1:*", "(UID FLAGS)")[1] if count else []
            parsed = [re.search(rb"UID (\d+) FLAGS \(([^)]*)\)", row) for row in rows]
            far[name] = {int(m[1]): (name, m[2].decode()) for m in parsed if m}
    near = {str(p.parent.relative_to(folder)): dict[object, object](maildir(p.parent)) for p in folder.rglob("cur")}
    return {"far": far, "near": near}
