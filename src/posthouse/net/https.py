"""One HTTPS request to a stranger's server, within bounds (limits.md, S19): MTA-STS policies, TLS reports,
keys of providers of identities.

The name is looked up once and the connection goes to that address, which must be one of the Internet; the certificate
must be of an authority and for the name. Redirections are not followed (RFC 8461 §3.3). The client is httpx2 (decision
0084), which takes 150 ms to import: a thread does that when it is first needed.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from urllib.parse import SplitResult, urlsplit

from posthouse.net.peer import verified_context
from posthouse.net.reach import Network, may_reach
from posthouse.trust.resolver import Resolver

PORT = 443
SECONDS = 10.0  # for all of it, the DNS included
ADDRESSES = 2  # that are tried: one of each family is enough
SHOWN = 100  # characters of a stranger's words that are repeated in ours


def https_context(authorities: Path | None = None) -> ssl.SSLContext:
    """Certificates of the system's authorities, or of those in a PEM file, for the name that was asked for."""
    context = verified_context(authorities)
    context.check_hostname = True
    return context


@dataclass(frozen=True, slots=True)
class Https:
    """What every request needs. `allowed` networks may be reached though they are private; tests have another port."""

    resolver: Resolver
    context: ssl.SSLContext = field(default_factory=https_context)
    allowed: tuple[Network, ...] = ()
    port: int = PORT

    def __post_init__(self) -> None:
        if not self.context.check_hostname:
            raise ValueError("this context takes the certificate of any host")


@dataclass(frozen=True, slots=True)
class Request:
    """GET, or POST where there is content. `most` bounds the octets of the answer that are taken."""

    host: str
    target: str  # origin-form: path and query
    most: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """The answer. `kind` is the media type, lower case."""

    status: int
    kind: str
    content: bytes


def https_url(url: str) -> SplitResult | None:
    """An https address without user and fragment, or None where it is none (RFC 3986 §3)."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and parts.hostname and parts.username is None and not parts.fragment
        return parts if good and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url else None
    except ValueError:
        return None


async def exchange(request: Request, https: Https) -> Response | str:
    """The answer, or what went wrong, in words. Never raises for what the other side does."""
    try:
        async with asyncio.timeout(SECONDS):
            return await _find_and_ask(request, https)
    except TimeoutError:
        return f"{request.host} does not answer within {SECONDS:.0f} seconds"


async def _find_and_ask(request: Request, https: Https) -> Response | str:
    ips = await _addresses(request.host, https)
    if isinstance(ips, str):
        return ips
    client = await asyncio.to_thread(_client)
    said: Response | str = ""
    for ip in ips:
        said = await _exchange(client, ip, request, https)
        if isinstance(said, Response):
            break
    return said


def _client() -> ModuleType:
    import httpx2

    return httpx2


async def _addresses(host: str, https: Https) -> Sequence[str] | str:
    four, six = await asyncio.gather(https.resolver.a(host), https.resolver.aaaa(host))
    ips = [*four.records[:1], *six.records[:1], *four.records[1:], *six.records[1:]]
    good = [ip for ip in ips if may_reach(ip, https.allowed)]
    if good:
        return good[:ADDRESSES]
    if ips:
        return f"{host} has an address that is not part of the Internet"
    if four.temporary or six.temporary:
        return f"the DNS does not answer where {host} is"
    return f"there is no host {host}"


async def _exchange(client: ModuleType, ip: str, request: Request, https: Https) -> Response | str:
    place = f"[{ip}]" if ":" in ip else ip
    name = request.host if https.port == PORT else f"{request.host}:{https.port}"
    headers = {"Host": name, "User-Agent": "Posthouse", "Accept-Encoding": "identity", **request.headers}
    try:
        async with client.AsyncClient(verify=https.context, trust_env=False, timeout=SECONDS) as session:
            made = session.build_request(
                "POST" if request.content else "GET",
                f"https://{place}:{https.port}{request.target}",
                headers=headers,
                content=request.content or None,
                extensions={"sni_hostname": request.host, "timeout": {"connect": SECONDS / 2, "read": SECONDS}},
            )
            answer = await session.send(made, stream=True)
            try:
                return await _read(answer, request)
            finally:
                await answer.aclose()
    except (client.HTTPError, client.InvalidURL, OSError, ValueError) as error:
        return f"{request.host}: {_why(error)}"


async def _read(answer: object, request: Request) -> Response | str:
    """The content as it comes over the wire; nothing is unpacked, so that nothing can explode."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":  # type: ignore[attr-defined]
        return f"{request.host} answers in an encoding that was not asked for"
    content = bytearray()
    async for octets in answer.aiter_raw():  # type: ignore[attr-defined]
        content += octets
        if len(content) > request.most:
            return f"{request.host} answers with more than {request.most} octets"
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()  # type: ignore[attr-defined]
    return Response(answer.status_code, kind, bytes(content))  # type: ignore[attr-defined]


def _why(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not good: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return (str(error) or type(error).__name__)[:SHOWN]
