"""What the machine of test_devices.py draws, and the stage that it plays on."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from hypothesis import strategies as st

from posthouse.mail.address import Address
from serve.imap.dialogue import Client
from serve.imap.world import Truth

WISHES = (  # of each device; those with even numbers are at one worker, the others at the other
    (),
    (),
    ("IMAP4rev2",),
    ("UIDONLY",),
    ("CONDSTORE",),
    ("CONDSTORE", "IMAP4rev2"),
    ("QRESYNC",),
    ("QRESYNC",),
    ("QRESYNC", "IMAP4rev2"),
    ("UIDONLY", "QRESYNC", "IMAP4rev2"),
)

device_of = st.integers(0, 9)
picks_of = st.lists(st.integers(0, 30), min_size=1, max_size=3)
flags_of = st.sampled_from(["\\Seen", "\\Deleted", "\\Deleted", "\\Flagged \\Answered", "word", "$Junk \\Draft", ""])
mode_of = st.sampled_from(["", "+", "+", "-"])
target_of = st.sampled_from([0, 0, 1])
key_of = st.sampled_from(["ALL", "SEEN", "UNSEEN", "UNDELETED", "KEYWORD word"])


class Stage(Protocol):
    """Two workers, in this process (world.py) or in their own (system/test_devices.py), and the rows themselves."""

    runner: asyncio.Runner
    run: Callable[[Any], Any]
    tasks: "set[asyncio.Task[None]]"

    def person(self) -> Address: ...
    async def connect(self, worker: int, user: Address) -> Client: ...
    def truth(self, user: Address) -> Truth: ...
    def modseqs(self, user: Address, folder: str) -> dict[int, int]: ...


def written(flags: str) -> str:
    """A message, as APPEND and REPLACE take it."""
    return f" ({flags}) {{6+}}\r\nA: 1\r\n"


def fits(key: str, flags: frozenset[str]) -> bool:
    match key:
        case "SEEN":
            return "\\seen" in flags
        case "UNSEEN":
            return "\\seen" not in flags
        case "UNDELETED":
            return "\\deleted" not in flags
        case "KEYWORD word":
            return "word" in flags
        case _:
            return True
