"""What people do while the machine dies: send, append, flag, copy, move, expunge, rename, delete.

Every step is remembered as answered or not. After a restart, what was answered is in force; what was not answered
happened whole or not at all.
"""

import imaplib
import smtplib
import time
from collections import Counter
from collections.abc import Callable

from system.running import Person

LOST = (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.abort)  # the connection, or what happens on its end
PATIENCE = 60.0  # seconds until a killed worker must be back
LARGE = b"".join(b"%076d\r\n" % i for i in range(16_000))  # 1.2 MiB: kept in a file, not in a row


class Activity:
    """One person's doings on a server that may die at any moment."""

    def __init__(self, anna: Person, name: str = "a") -> None:
        self.anna, self.name = anna, name
        self.accepted: set[str] = set()  # Message-IDs whose 250 came
        self.unanswered: set[str] = set()
        self.rounds: list[Round] = []

    def wait_for_server(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.anna.home.greets():
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.02)

    def send(self, count: int, large_every: int = 0) -> bool:
        """Messages by SMTP, one after the other, until the connection is lost. Whether all were answered."""
        client: smtplib.SMTP | None = None
        try:
            client = smtplib.SMTP("127.0.0.1", self.anna.home.ports.smtp, timeout=60)
            for i in range(count):
                large = LARGE if large_every and i % large_every == large_every - 1 else b""
                self.send_one(client, large)
            client.quit()
        except LOST:
            return False
        finally:
            if client is not None:
                client.close()
        return True

    def send_one(self, client: smtplib.SMTP, large: bytes) -> None:
        message_id = f"<{self.name}.{len(self.accepted) + len(self.unanswered)}@far.test>"
        octets = f"Message-ID: {message_id}\r\n\r\nHello\r\n".encode() + large
        self.unanswered.add(message_id)
        client.sendmail("eve@far.test", [self.anna.address], octets)
        self.unanswered.discard(message_id)
        self.accepted.add(message_id)

    def use_mailboxes(self, rounds: int) -> bool:
        """Everything one does in mailboxes, until the connection is lost. Whether all was answered."""
        for _ in range(rounds):
            self.rounds.append(Round(self.anna, f"{self.name}{len(self.rounds)}"))
            try:
                self.rounds[-1].play()
            except LOST:
                return False
        return True

    def check(self) -> None:
        """After a restart: nothing lost, nothing twice, each step whole or not at all."""
        found = Counter(self.anna.uids()[1].values())
        mine = {message_id: n for message_id, n in found.items() if message_id.startswith(f"<{self.name}.")}
        assert not self.accepted - set(mine), "accepted, then lost"
        assert all(n == 1 for n in mine.values()), "delivered twice"
        assert set(mine) <= self.accepted | self.unanswered
        for one in self.rounds:
            one.check()


class Round:
    """A mailbox is made, filled, flagged, copied, moved from, expunged, renamed and deleted, once."""

    MESSAGES, MOVED = 6, 3

    def __init__(self, anna: Person, name: str) -> None:
        self.anna, self.name = anna, name
        self.answered: set[str] = set()
        self.begun: set[str] = set()
        self.appended: set[str] = set()

    def step(self, name: str, command: Callable[..., tuple[str, object]], *arguments: object) -> None:
        self.begun.add(name)
        kind, answer = command(*arguments)
        assert kind == "OK", f"{name}: {answer}"
        self.answered.add(name)

    def play(self) -> None:
        n = self.name
        with self.anna.imap() as client:
            for box in (f"Box{n}", f"Box{n}/Child", f"Copy{n}", f"Moved{n}"):
                self.step(f"create {box}", client.create, box)
            for i in range(self.MESSAGES):
                message_id = f"<append{i}.{n}@home.test>"
                octets = f"Message-ID: {message_id}\r\n\r\nHello\r\n".encode() + (LARGE if i == 0 else b"")
                self.step(message_id, client.append, f"Box{n}", None, None, octets)
                self.appended.add(message_id)
            client.select(f"Box{n}")
            self.step("flag", client.store, "1:*", "+FLAGS", r"(\Flagged \Seen)")
            self.step("copy", client.copy, "1:*", f"Copy{n}")
            self.step("move", client.uid, "MOVE", f"1:{self.MOVED}", f"Moved{n}")
            client.select(f"Copy{n}")
            self.step("mark", client.store, "1:*", "+FLAGS.SILENT", r"(\Deleted)")
            self.step("expunge", client.expunge)
            client.select("INBOX")
            self.step("rename", client.rename, f"Box{n}", f"Renamed{n}")
            self.step("delete", client.delete, f"Copy{n}")

    def check(self) -> None:
        n = self.name
        with self.anna.imap() as client:
            names = {line.decode().rpartition(' "/" ')[2].strip('"') for line in client.list()[1]}
        boxes = [box for box in (f"Box{n}", f"Renamed{n}") if box in names]
        if f"create Box{n}" in self.answered:
            assert len(boxes) == 1, names
        if not boxes:
            return
        self.whole("rename", int(boxes == [f"Renamed{n}"]), 1)
        if f"create Box{n}/Child" in self.answered:
            assert f"{boxes[0]}/Child" in names
        box, moved = self.content(boxes[0], names), self.content(f"Moved{n}", names)
        here = Counter([*box, *moved])
        assert self.appended <= set(here), "appended, then lost"
        assert all(count == 1 for count in here.values()), "in two mailboxes after MOVE"
        self.whole("move", len(moved), self.MOVED)
        flagged = sum(r"\Flagged" in flags for flags in [*box.values(), *moved.values()])
        self.whole("flag", flagged, len(self.appended))
        assert "delete" not in self.answered or f"Copy{n}" not in names
        copies = self.content(f"Copy{n}", names)
        assert len(copies) in ({0} if "expunge" in self.answered else {0, self.MESSAGES})
        assert len(copies) == self.MESSAGES or "copy" not in self.answered or "expunge" in self.begun

    def whole(self, step: str, found: int, everything: int) -> None:
        """Answered: all of it; begun: all or nothing; not begun: nothing."""
        allowed = {everything} if step in self.answered else {0, everything} if step in self.begun else {0}
        assert found in allowed, f"{step}: {found} of {everything}"

    def content(self, mailbox: str, names: set[str]) -> dict[str, str]:
        """Message-ID -> flags."""
        if mailbox not in names:
            return {}
        with self.anna.imap() as client:
            count = int(client.select(mailbox, readonly=True)[1][0])
            rows = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1] if count else []
        found = {}
        for row, tail in zip(rows[::2], rows[1::2], strict=True):
            found[row[1].decode().partition(":")[2].strip()] = (row[0] + tail).decode()
        return found
