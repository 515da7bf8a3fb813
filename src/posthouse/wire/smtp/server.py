"""SmtpServer: the server's side of one SMTP or LMTP connection. Octets in, events out; replies in, octets out.

RFC 5321 §3, §4.1.4 (order), §4.5.2, §4.5.3 (limits); RFC 2920 §3.2 (pipelining), RFC 3030 §2 (BDAT),
RFC 3207 §4 (STARTTLS), RFC 4954 §4 (AUTH), RFC 1870 §6 (SIZE), RFC 2033 §4 (LMTP).

How a session drives it:

    link.write(engine.send(greeting))                   # the 220 is the first reply the engine waits for
    while (event := await link.next(engine)) is not None:
        for reply in await answer(event): link.write(engine.send(reply))
        if not engine.pending: await link.flush()

* Each event says (in `command.py`) how many replies it wants; asking for the next event before they were sent is our
  bug and raises RuntimeError. `replies_owed` tells how many are missing.
* The engine learns from the replies: 250 to MAIL begins a transaction, 354 opens DATA, 235 ends AUTH.
* `Malformed` carries the reply. `reply.close` means: send, then close. The engine is then at its end.
* STARTTLS: send 220, then `starttls()`. It forgets everything, EHLO and buffered plain text with it; `injected` tells
  afterwards whether there was such text, and the session should then close (CVE-2011-0411).
* A message is read to its end even when it is already known to be faulty; its octets are thrown away and `DataEnded`
  carries the fault, which must be the reply.

It does NOT count errors, commands or transactions, wait, or judge users: patience is the session's (each mistake is a
`Malformed` or an `Unknown`, so it can count them), as is whether AUTH or STARTTLS is on offer at all.
"""

from dataclasses import dataclass

from posthouse.mail.status import Reply
from posthouse.wire.smtp.command import Event

COMMAND_LINE = 4_096  # octets with CRLF; RFC 5321 §4.5.3.1.4 asks for 512, SMTPUTF8, SIZE and AUTH= for more
AUTH_LINE = 12_288  # octets; RFC 4954 §4.5? Kerberos tickets need them
SWALLOWED = 65_536  # octets of one overlong line that are read and dropped; beyond it 421
TEXT_LINE = 1_048_576  # octets; RFC 5321 §4.5.3.1.6 asks for 1,000; real mail has longer lines and is kept as it came
MESSAGE_SIZE = 52_428_800  # octets, announced by SIZE


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """Bounds of one connection, in octets."""

    command_line: int = COMMAND_LINE
    auth_line: int = AUTH_LINE
    swallowed: int = SWALLOWED
    text_line: int = TEXT_LINE
    message_size: int = MESSAGE_SIZE


class SmtpServer:
    """The server's side of one SMTP (or, with `lmtp`, LMTP) connection."""

    def __init__(self, *, lmtp: bool = False, tls: bool = False, limits: SmtpLimits = SmtpLimits()) -> None:
        """`tls`: the connection began with TLS, so STARTTLS is out of place."""

    def receive(self, data: bytes) -> None:
        """Octets from the peer; b"" means it closed."""

    def next_event(self) -> Event | None:
        """The next event, or None while more octets are needed."""

    def send(self, answer: Reply) -> bytes:
        """The octets of a reply; moves the state on. Raises RuntimeError where no such reply is due."""

    def starttls(self) -> None:
        """Forget buffered plain text and all state (RFC 3207 §4.2)."""

    @property
    def pending(self) -> bool:
        """More input is waiting: do not flush yet."""

    @property
    def injected(self) -> bool:
        """Plain text stood behind STARTTLS."""

    @property
    def replies_owed(self) -> int:
        """Replies still to be sent before the next event."""

    @property
    def recipients(self) -> int:
        """Accepted recipients of this transaction."""
