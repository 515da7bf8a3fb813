"""One IMAP connection from greeting to BYE (RFC 9051 §3): the loop, the states, and who answers which command."""

from posthouse.net.link import Link
from posthouse.serve.login import Door
from posthouse.transport.house import House


async def session(link: Link, house: House, door: Door) -> None:
    """Serve one connection; returns when it is closed. Never raises but for cancellation."""
