"""Does port 25 lead out? Many providers close it; then mail must go by a smart host (first-minutes.md)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from posthouse.transport.mailhosts import find_addresses
from posthouse.transport.target import SMTP_PORT
from posthouse.trust.resolver import Resolver

SECONDS = 5.0  # for one of the servers to answer; the world is smaller
GREETING = 512  # octets; all that is wanted is that they begin with 2xx or 4xx or 5xx
OPEN_AGAIN, BLOCKED_AGAIN = 3_600.0, 600.0  # seconds after which it is tried anew


@dataclass(frozen=True, slots=True)
class Probe:
    """How it went. `open` is None where no server could be asked for: the DNS does not answer."""

    open: bool | None
    tried: tuple[tuple[str, str], ...]  # host, and what happened


Ask = Callable[[str, int], Awaitable[str]]  # an address and a port -> what happened, "" for a server that greets


async def probe(hosts: Sequence[str], resolver: Resolver, ask: Ask | None = None, port: int = SMTP_PORT) -> Probe:
    """Try servers that everybody can reach, at the same time. One that greets is enough."""
    found = await asyncio.gather(*[find_addresses(host, resolver) for host in hosts])
    places = [(host, one.ips) for host, one in zip(hosts, found, strict=True) if one.ips]
    if not places:
        return Probe(None, tuple((host, "has no address in the DNS") for host in hosts))
    said = await asyncio.gather(*[_one_of(ips, port, ask or greeted) for _, ips in places])
    tried = tuple((host, what or "answers") for (host, _), what in zip(places, said, strict=True))
    return Probe("" in said, tried)


async def _one_of(ips: Sequence[str], port: int, ask: Ask) -> str:
    """An address of each family: what the first said that is good, or the last that is bad."""
    chosen = [*[ip for ip in ips if ":" not in ip][:1], *[ip for ip in ips if ":" in ip][:1]]
    said = await asyncio.gather(*[ask(ip, port) for ip in chosen])
    return "" if "" in said else said[0]


async def greeted(ip: str, port: int) -> str:
    """Whether an SMTP server greets there; a firewall may answer in its place and say nothing."""
    writer = None
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(ip, port, limit=GREETING)
            line = await reader.read(GREETING)
        return "" if line[:1] in (b"2", b"4", b"5") else "does not greet as a mail server does"
    except TimeoutError:
        return "does not answer within 5 seconds"
    except OSError as error:
        return error.strerror or "cannot be reached"
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Port25:
    """Remembers for one worker whether port 25 leads out, and finds out again from time to time."""

    def __init__(self, look: Callable[[], Awaitable[Probe]]) -> None:
        self._look = look
        self._blocked = False
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def blocked(self) -> bool:
        """Whether it was closed when it was last looked at. Who asks first waits for the look."""
        if asyncio.get_running_loop().time() >= self._until:
            if self._asking is None:
                self._asking = asyncio.create_task(self._find_out())
            await asyncio.shield(self._asking)
        return self._blocked

    async def _find_out(self) -> None:
        try:
            self._blocked = (await self._look()).open is False
            again = BLOCKED_AGAIN if self._blocked else OPEN_AGAIN
            self._until = asyncio.get_running_loop().time() + again
        finally:
            self._asking = None
