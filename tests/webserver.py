"""An HTTPS server in this process, which answers with whatever octets it is given."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from posthouse.net.authority import authority, issue
from posthouse.net.tls import load

Page = bytes | Callable[[bytes], bytes]  # the octets of the answer, or what makes them of the request


@dataclass
class Web:
    """`pages` by host name; `requests` are what was asked, head and content."""

    folder: Path
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # SNI
    connections: int = 0
    port: int = 0

    @property
    def authority(self) -> Path:
        """The PEM file of who signed its certificates."""
        return self.folder / "ca.pem"


def page(content: bytes, kind: str = "text/plain", status: str = "200 OK", *more: str) -> bytes:
    """A response as a good server gives it."""
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Connection: close",
        *more,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@contextlib.asynccontextmanager
async def https_server(folder: Path, *names: str, address: tuple[str, int] = ("127.0.0.1", 0)) -> AsyncIterator[Web]:
    """Serving with a certificate for these names."""
    web = Web(folder)
    context = load(issue(authority(folder, "Test CA"), folder, names))
    context.sni_callback = lambda _, name, __: web.names.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        web.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            content = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            web.requests.append(head + content)
            answer = web.pages[fields[b"host"].decode().partition(":")[0]]
            writer.write(answer(head + content) if callable(answer) else answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, *address, ssl=context)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
        await server.wait_closed()
