"""net/peer.py and the client's side of net/link.py: what a server shows of itself (RFC 6125 §6.4, RFC 3207 §4)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from posthouse.net.authority import authority, issue, self_signed
from posthouse.net.link import Link, open_link
from posthouse.net.peer import (
    TlsFailure,
    chain_of,
    kind_of_failure,
    names_server,
    unverified_context,
    verified_context,
    why_failed,
)
from posthouse.net.tls import CertificateFiles, load


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """An authority of our own."""
    return authority(tmp_path_factory.mktemp("root"), "Root of a test")


@pytest.fixture(scope="module")
def files(root: CertificateFiles, tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A certificate for two names and an address."""
    return issue(root, tmp_path_factory.mktemp("leaf"), ["mx.test", "*.cloud.test", "127.0.0.1"])


@contextlib.asynccontextmanager
async def link_to(context: ssl.SSLContext | None) -> AsyncIterator[Link]:
    """A plain link to a server that speaks TLS at once; None: one that answers with something else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if context is None and await reader.read(1):
                writer.write(b"220 this is no TLS\r\n")
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.sockets[0].getsockname())
    link = await open_link(sock)
    try:
        yield link
    finally:
        link.abort()
        await link.wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)


async def test_the_chain_that_was_shown(files: CertificateFiles, root: CertificateFiles) -> None:
    """DER, the server's own first; the issuer behind it, which DANE-TA needs (RFC 7672 §3.1.2)."""
    async with link_to(load(files)) as link:
        assert link.tls_session is None
        await link.start_client_tls(unverified_context(), "mx.test")
        assert link.tls is not None
        assert link.tls.version == "TLSv1.3"
        session = link.tls_session
        assert session is not None
        chain = chain_of(session)
        shown = [ssl.PEM_cert_to_DER_cert(pem + "-----END CERTIFICATE-----\n") for pem in pems(files)]
        assert chain == shown
        assert chain[0] == session.getpeercert(binary_form=True)
        assert not names_server(session, ("mx.test",))  # nothing was verified


def pems(files: CertificateFiles) -> list[str]:
    return [pem for pem in files.certificate.read_text().split("-----END CERTIFICATE-----\n") if pem.strip()]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("mx.test",), True),
        (("MX.test.",), True),
        (("other.test", "mx.test"), True),
        (("a.cloud.test",), True),
        (("127.0.0.1",), True),
        (("[127.0.0.1]",), True),
        (("a.b.cloud.test",), False),
        (("cloud.test",), False),
        (("mx.test.evil.test",), False),
        (("127.0.0.2",), False),
        ((), False),
    ],
)
async def test_names(files: CertificateFiles, root: CertificateFiles, names: tuple[str, ...], expected: bool) -> None:
    async with link_to(load(files)) as link:
        await link.start_client_tls(verified_context(root.certificate), "mx.test")
        session = link.tls_session
        assert session is not None
        assert names_server(session, names) is expected


class Shown:
    """A session with a certificate of any form."""

    def __init__(self, *entries: tuple[str, str]) -> None:
        self.entries = entries

    def getpeercert(self) -> dict[str, object]:
        """As ssl gives it."""
        return {"subject": ((("commonName", "mx.test"),),), "subjectAltName": self.entries}


@pytest.mark.parametrize(
    ("entries", "name", "expected"),
    [
        ((), "mx.test", False),  # a common name alone is no name (RFC 9525 §2)
        ((("DNS", "*.test"),), "mx.test", False),  # not for all of a top-level domain
        ((("DNS", "*"),), "test", False),
        ((("DNS", "m*.home.test"),), "mx.home.test", False),
        ((("DNS", "*.home.test"),), "mx.home.test", True),
        ((("DNS", "*.0.0.1"),), "127.0.0.1", False),
        ((("DNS", "127.0.0.1"),), "127.0.0.1", True),
        ((("IP Address", "2001:DB8:0:0:0:0:0:1"),), "[IPv6:2001:db8::1]", True),
        ((("IP Address", "<invalid>"),), "mx.test", False),
        ((("email", "mx.test"),), "mx.test", False),
    ],
)
def test_odd_certificates(entries: tuple[tuple[str, str], ...], name: str, expected: bool) -> None:
    assert names_server(cast(ssl.SSLObject, Shown(*entries)), (name,)) is expected


async def failing(server: ssl.SSLContext | None, client: ssl.SSLContext) -> tuple[str, TlsFailure]:
    """Why the handshake failed, in words and for a report."""
    async with link_to(server) as link:
        with pytest.raises(ConnectionError) as caught:
            await link.start_client_tls(client, "mx.test")
        assert link.closing
        return why_failed(caught.value), kind_of_failure(caught.value)


async def test_why_a_handshake_fails(files: CertificateFiles, tmp_path: Path) -> None:
    own = load(self_signed(tmp_path, "mx.test"))
    assert await failing(own, verified_context()) == ("self-signed certificate", TlsFailure.NOT_TRUSTED)
    unknown = "self-signed certificate in certificate chain"
    assert await failing(load(files), verified_context()) == (unknown, TlsFailure.NOT_TRUSTED)
    assert await failing(None, unverified_context()) == ("wrong version number", TlsFailure.OTHER)
    older = load(files)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    newer = unverified_context.__wrapped__()  # one of its own
    newer.minimum_version = ssl.TLSVersion.TLSv1_3
    assert await failing(older, newer) == ("the server hung up", TlsFailure.OTHER)  # asyncio's server sends no alert
    assert why_failed(ConnectionResetError("x")) == "the server hung up"
