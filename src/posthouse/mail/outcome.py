"""What became of a recipient: the values that queue, DSN and trace share (RFC 3464 §2.3)."""

from dataclasses import dataclass
from enum import Enum

from posthouse.mail.envelope import Recipient
from posthouse.mail.ids import Millis
from posthouse.mail.status import Reply, Status

SHOWN = 300  # characters of an answer in one sentence


class Action(Enum):
    """The action words of a DSN (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt meant for one recipient.

    `status` is ours where nobody answered, else the one of `answer`, the reply of the server named `mta` (RFC 3464
    §2.3.4 to §2.3.6). `reason` is one English sentence without a final full stop, for people: what happened.
    `where` is the recipient's state of affairs on the wire when it happened: "dns", "connect", "greeting", "hello",
    "tls", "login", "mail", "rcpt", "data" or "dot". `dsn`: the server has taken over what was asked for by NOTIFY
    (RFC 3461 §5.2.1).
    """

    recipient: Recipient
    action: Action
    status: Status
    reason: str
    at: Millis
    mta: str = ""  # host name of the server that answered, "" where none did
    ip: str = ""
    answer: Reply | None = None
    where: str = ""
    tls: str = ""  # "TLSv1.3 TLS_AES_256_GCM_SHA384 dane" and the like, "" for plain text
    dsn: bool = False

    @property
    def words(self) -> str:
        """The reason, and the answer where there was one: "it cannot be taken now (450 4.2.0 Come back later)"."""
        if self.answer is None:
            return self.reason
        status = f"{self.answer.status} " if self.answer.status is not None else ""
        return f"{self.reason} ({self.answer.code} {status}{self.answer.text[:SHOWN]})"
