"""What one POP3 session knows."""

from contextlib import ExitStack

from posthouse.net.link import Link
from posthouse.serve.caller import Caller, offer
from posthouse.serve.limits import Pop3SessionLimits, Refusal, Service
from posthouse.serve.login import Door
from posthouse.serve.pop3.maildrop import Maildrop
from posthouse.serve.standing import Standing
from posthouse.store.accounts import Login
from posthouse.transport.house import House
from posthouse.wire.pop3.reply import Pop3Reply
from posthouse.wire.pop3.server import Pop3Server
from posthouse.wire.sasl import Offer


class Session:
    """One connection, from the greeting to its end."""

    __slots__ = (
        "_entered",
        "began",
        "door",
        "engine",
        "failures",
        "fetched",
        "house",
        "limits",
        "link",
        "login",
        "mail",
        "mistakes",
        "standing",
        "written",
    )

    def __init__(self, link: Link, house: House, door: Door, limits: Pop3SessionLimits) -> None:
        self.link = link
        self.house = house
        self.door = door
        self.limits = limits
        self.engine = Pop3Server(tls=link.tls is not None, command_line=limits.line)
        self.login: Login | None = None
        self.mail: Maildrop | None = None
        self.began = 0.0  # loop time of the greeting
        self.failures = 0  # of logins
        self.mistakes = 0
        self.fetched: set[int] = set()  # UIDs of messages that were sent whole
        self.standing = Standing(link, door)
        self.written = 0  # octets since the last flush
        self._entered = ExitStack()

    @property
    def ip(self) -> str:
        """Where the client is."""
        return self.link.peer[0]

    @property
    def offer(self) -> Offer:
        """The SASL mechanisms of this connection."""
        return offer(self.link, self.door.withheld, bearer=self.door.tokens is not None)

    @property
    def caller(self) -> Caller:
        """Who asks to come in."""
        return Caller(self.ip, Service.POP3, self.link.tls, offer=self.offer)

    @property
    def maildrop(self) -> Maildrop:
        """The maildrop; the engine lets no command through that needs it before the login."""
        if self.mail is None:
            raise LookupError("nobody is logged in")
        return self.mail

    def enter(self, login: Login) -> Refusal | None:
        """Count this connection as one of the user's, if one more is allowed."""
        peers = self.door.peers
        return self._entered.enter_context(peers.user_connection(str(login.address), self.ip, Service.POP3))

    def leave(self) -> None:
        """Let go of everything that others count or hold for this session."""
        if self.mail is not None:
            self.mail.leave()
        self.standing.end()
        self._entered.close()

    def say(self, answer: Pop3Reply) -> None:
        """Write a reply; it leaves with the next flush."""
        self.write(self.engine.send(answer))

    def write(self, *chunks: bytes) -> None:
        """Write octets; they leave with the next flush."""
        self.written += sum(map(len, chunks))
        self.link.write(*chunks)

    async def flush(self) -> None:
        """Send what was written, at the client's pace."""
        self.written = 0
        await self.link.flush()
