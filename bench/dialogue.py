"""A blocking IMAP client for measuring: it sends lines, reads to the tagged answer and counts, keeping little."""

import contextlib
import json
import socket
from dataclasses import dataclass
from pathlib import Path

KEPT = 4 << 20  # octets of an answer that are kept for who asks for them
RECEIVE = 1 << 20


@dataclass(frozen=True)
class Target:
    """A server as the harness's target file describes it, with the mailboxes of one format."""

    name: str
    host: str
    port: int
    user: str  # with %d in it
    password: str
    corpus: Path

    @classmethod
    def read(cls, file: Path) -> "Target":
        """From the JSON that the harness's workloads take, too."""
        read = json.loads(file.read_text())
        user = read.get("user", "u%04d@bench.test")
        return cls(read["name"], "127.0.0.1", read["imap_port"], user, "secret", Path(read["corpus"]))


@dataclass(frozen=True)
class Answer:
    """A tagged answer, how often the word looked for came before it, how many octets came before it, and the first of
    what came."""

    status: bytes
    hits: int
    octets: int
    start: bytes


class Refused(Exception):
    """The server answered NO or BAD."""


class Connection:
    """One logged-in connection."""

    def __init__(self, target: Target, number: int, timeout: float = 900) -> None:
        self.socket = socket.create_connection((target.host, target.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.count = 0
        self.rest = b""
        self._until(b"\r\n")
        self.do(f'LOGIN "{target.user % number}" "{target.password}"')
        self.capabilities = set(self.do("CAPABILITY").start.upper().split())

    def _until(self, end: bytes) -> bytes:
        while end not in self.rest:
            self.rest += self._receive()
        line, _, self.rest = self.rest.partition(end)
        return line

    def _receive(self) -> bytes:
        octets = self.socket.recv(RECEIVE)
        if not octets:
            raise ConnectionError("the server closed the connection")
        return octets

    def send(self, command: bytes, after: bytes = b"") -> bytes:
        """Send one command (`after`: literals and what follows them); its tag."""
        self.count += 1
        tag = b"zq%dxk" % self.count
        self.socket.sendall(tag + b" " + command + b"\r\n" + after)
        return tag

    def wait(self, tag: bytes, word: bytes = b"") -> Answer:
        """Read to the tagged answer. `word` is counted on the way."""
        end = b"\r\n" + tag + b" "
        kept = [b"\r\n", self.rest]
        size, hits, octets = 2 + len(self.rest), 0, len(self.rest)
        tail, self.rest = b"\r\n" + self.rest, b""
        counted = len(word) - 1
        hits += tail.count(word) if word else 0
        while (place := tail.find(end)) < 0 or (stop := tail.find(b"\r\n", place + 2)) < 0:
            new = self._receive()
            octets += len(new)
            if size < KEPT:
                kept.append(new)
                size += len(new)
            if word:
                hits += (tail[-counted:] + new).count(word)
            tail = (tail[place:] if place >= 0 else tail[-200:]) + new
        self.rest = tail[stop + 2 :]
        before = octets - (len(tail) - place - 2)
        return Answer(tail[place + 2 : stop], hits, before, b"".join(kept))

    def do(self, command: str, word: bytes = b"") -> Answer:
        """A command that must succeed. Raises Refused."""
        return self.settle(self.send(command.encode()), word)

    def settle(self, tag: bytes, word: bytes = b"") -> Answer:
        """Wait for an answer that must be OK. Raises Refused."""
        answer = self.wait(tag, word)
        if not answer.status.split(b" ", 1)[1].startswith(b"OK"):
            raise Refused(answer.status[:200].decode("latin-1"))
        return answer

    def append(self, mailbox: str, octets: bytes) -> bytes:
        """APPEND by a literal that needs no answer; the tag."""
        return self.send(b"APPEND %b {%d+}" % (mailbox.encode(), len(octets)), octets + b"\r\n")

    def append_all(self, mailbox: str, messages: list[bytes]) -> bytes:
        """MULTIAPPEND (RFC 3502); the tag."""
        first = b"APPEND %b {%d+}" % (mailbox.encode(), len(messages[0]))
        rest = [messages[0], *(b" {%d+}\r\n%b" % (len(octets), octets) for octets in messages[1:])]
        return self.send(first, b"".join(rest) + b"\r\n")

    def close(self) -> None:
        """Log out."""
        with contextlib.suppress(OSError, Refused):
            self.do("LOGOUT")
        self.socket.close()
