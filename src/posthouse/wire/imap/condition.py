"""Status conditions of RFC 9051 §7.1 and the Fault by which the parsers of this room refuse a command.

A Fault never leaves the engine: `server.py` turns it into the event Malformed (house rule: a peer's mistake is an
event). It is an exception only because a grammar of thirty productions is easier to read that way.
"""

from enum import Enum


class Condition(Enum):
    """resp-cond-state and resp-cond-bye (RFC 9051 §7.1, §9)."""

    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"
    BYE = b"BYE"


class Fault(Exception):
    """What is wrong with a command: a sentence for its user, a response code if one fits, and BAD or NO."""

    def __init__(self, text: str, code: bytes | None = None, condition: Condition = Condition.BAD) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.condition = condition


def over_limit(text: str) -> Fault:
    """The refusal of what is longer, deeper or more numerous than this server takes (RFC 9051 §7.1 LIMIT)."""
    return Fault(text, b"LIMIT")
