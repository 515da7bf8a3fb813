"""What may be asked of the DNS, and how it answers: the Resolver that pure rooms are handed (RFC 1035, RFC 8020).

Failures are kept apart, because mail differs on each of them: a name that does not exist refuses a recipient, a name
without records of the type asked may have an implicit MX (RFC 5321 §5.1), and a server that fails makes mail wait.

It does NOT ask anybody: `net/dns.py` does, and the tests have one made of a zone.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Found(Enum):
    """How a question ended."""

    RECORDS = "records"
    NO_DATA = "no data"  # the name exists, without records of this type (RFC 2308 §2.2)
    NXDOMAIN = "no such name"  # RFC 2308 §2.1
    SERVFAIL = "server failure"  # an answer that is none; also DNSSEC that does not hold
    TIMEOUT = "no answer in time"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """The end of one question. `records` are empty unless `found` is RECORDS.

    `authentic`: the answer, also a denial, has the AD bit of a resolver that we trust (RFC 6698 §4, RFC 7672 §2.1.1).
    `name` is where a chain of CNAMEs ended, lower case without a final dot; `ttl` is in seconds.
    """

    found: Found
    records: tuple[T_co, ...] = ()
    authentic: bool = False
    name: str = ""
    ttl: int = 0

    @property
    def temporary(self) -> bool:
        """Asking again later may help."""
        return self.found in (Found.SERVFAIL, Found.TIMEOUT)


class Mx(NamedTuple):
    """An MX record (RFC 5321 §5.1). `host` is lower case without a final dot; "" is the null MX (RFC 7505 §3)."""

    preference: int
    host: str


class Tlsa(NamedTuple):
    """A TLSA record (RFC 6698 §2.1)."""

    usage: int
    selector: int
    matching: int
    association: bytes


class Resolver(Protocol):
    """Asks the DNS. Names are A-labels, with or without a final dot; no method raises for what an answer holds."""

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, in no order."""
        ...

    async def a(self, name: str) -> Answer[str]:
        """IPv4 addresses."""
        ...

    async def aaaa(self, name: str) -> Answer[str]:
        """IPv6 addresses."""
        ...

    async def cname(self, name: str) -> Answer[str]:
        """Where the name itself leads, one step of a chain."""
        ...

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the character-strings of each joined."""
        ...

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""
        ...

    async def ptr(self, ip: str) -> Answer[str]:
        """Names of an address, from in-addr.arpa or ip6.arpa."""
        ...
