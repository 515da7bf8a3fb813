"""Enhanced status codes and SMTP replies as values (RFC 3463, RFC 5248, RFC 5321 §4.2).

A refusal is a value: rooms above answer with a Reply, they do not raise.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Status:
    """An enhanced status code, class.subject.detail (RFC 3463 §2)."""

    cls: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.cls}.{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply: a three-digit code, an optional Status and one or more lines of text (RFC 5321 §4.2).

    `close` says that the server ends the connection after this reply (RFC 5321 §3.8).
    """

    code: int
    status: Status | None
    lines: tuple[str, ...]
    close: bool = False

    @property
    def positive(self) -> bool:
        """Positive completion or intermediate reply: 2yz or 3yz (RFC 5321 §4.2.1)."""
        return self.code < 400

    @property
    def text(self) -> str:
        """All lines as one."""
        return " ".join(self.lines)


def reply(code: int, status: str, *lines: str, close: bool = False) -> Reply:
    """A Reply from its usual spelling: `reply(550, "5.1.1", "No such user")`; status "" means none."""
    if not status:
        return Reply(code, None, lines, close)
    cls, subject, detail = status.split(".")
    return Reply(code, Status(int(cls), int(subject), int(detail)), lines, close)
