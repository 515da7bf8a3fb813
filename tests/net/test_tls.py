"""Certificates: made, chosen by name, reloaded, refused; and Link's STARTTLS."""

import asyncio
import socket
import ssl
import stat
from pathlib import Path

import pytest

from certificates import shake
from net.lines import Lines
from posthouse.net import authority, tls
from posthouse.net.binding import end_point
from posthouse.net.link import Link, open_link
from posthouse.net.tls import CertificateError, CertificateFiles, Certificates


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return authority.authority(tmp_path_factory.mktemp("ca"), "Test authority")


def trusting(ca: CertificateFiles) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca.certificate))


def presented(context: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> set[str]:
    certificate = shake(context, client, name)[0].getpeercert()
    assert certificate is not None
    return {str(entry[1]) for entry in certificate["subjectAltName"]}


def test_a_private_authority_is_believed_by_openssl(ca: CertificateFiles, tmp_path: Path) -> None:
    files = authority.issue(ca, tmp_path, ("localhost", "home.test", "127.0.0.1"))
    context = Certificates([files]).context
    for name in ("localhost", "home.test", "127.0.0.1"):
        assert "home.test" in presented(context, trusting(ca), name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(context, trusting(ca), "elsewhere.test")


def test_keys_are_for_the_owner_alone_and_made_once(ca: CertificateFiles, tmp_path: Path) -> None:
    files = authority.issue(ca, tmp_path, ("localhost",))
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(ca.key.stat().st_mode) == 0o600
    before = files.certificate.read_bytes()
    assert authority.issue(ca, tmp_path, ("localhost",)).certificate.read_bytes() == before
    assert authority.issue(ca, tmp_path, ("localhost", "more.test")).certificate.read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.key", "server.pem"]


def test_another_authority_means_another_certificate(ca: CertificateFiles, tmp_path: Path) -> None:
    files = authority.issue(ca, tmp_path, ("localhost",))
    other = authority.authority(tmp_path / "other", "Another authority")
    authority.issue(other, tmp_path, ("localhost",))
    presented(Certificates([files]).context, trusting(other), "localhost")


def test_each_name_gets_its_certificate(ca: CertificateFiles, tmp_path: Path) -> None:
    """Server Name Indication, RFC 6066 §3."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = authority.issue(ca, tmp_path / "one", ("one.test",))
    two = authority.issue(ca, tmp_path / "two", ("two.test", "*.wild.test"))
    context = Certificates([one, two]).context
    client = trusting(ca)
    assert presented(context, client, "one.test") == {"one.test"}
    assert "two.test" in presented(context, client, "TWO.test")
    assert "*.wild.test" in presented(context, client, "a.wild.test")
    client.check_hostname = False
    assert presented(context, client, "unknown.test") == {"one.test"}
    assert presented(context, client, None) == {"one.test"}


def test_refusals_name_the_file_and_the_reason(ca: CertificateFiles, tmp_path: Path) -> None:
    files = authority.issue(ca, tmp_path, ("localhost",))
    with pytest.raises(CertificateError, match=r"nowhere\.pem: No such file"):
        tls.load(CertificateFiles(tmp_path / "nowhere.pem", files.key))
    with pytest.raises(CertificateError, match=r"does not belong to this certificate"):
        tls.load(CertificateFiles(files.certificate, ca.key))
    bad = tmp_path / "bad.pem"
    bad.write_text("hello")
    with pytest.raises(CertificateError, match=r"holds no such PEM"):
        tls.load(CertificateFiles(bad, files.key))
    with pytest.raises(CertificateError, match=r"no PEM certificate"):
        authority.names(bad)
    with pytest.raises(CertificateError, match=r"no certificate is configured"):
        Certificates([])


def test_self_signed_is_made_once(tmp_path: Path) -> None:
    files = authority.self_signed(tmp_path / "tls", "mail.example.org")
    assert authority.names(files.certificate) == ("mail.example.org",)
    before = files.certificate.read_bytes()
    assert authority.self_signed(tmp_path / "tls", "mail.example.org").certificate.read_bytes() == before
    assert authority.names(authority.self_signed(tmp_path / "tls", "new.example.org").certificate) == (
        "new.example.org",
    )


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(ca: CertificateFiles, tmp_path: Path) -> None:
    """TLS 1.1 and older are dead (RFC 8996)."""
    context = Certificates([authority.issue(ca, tmp_path, ("localhost",))]).context
    old = trusting(ca)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL"):
        shake(context, old, "localhost")
    new = trusting(ca)
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(context, new, "localhost")[0].version() == "TLSv1.2"


@pytest.mark.parametrize(("version", "resumable"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, False)])
def test_a_ticket_is_given_where_it_saves_a_round_trip(
    ca: CertificateFiles, tmp_path: Path, version: ssl.TLSVersion, resumable: bool
) -> None:
    """RFC 5077 §3.1; with TLS 1.3 both ways take one (RFC 8446 §2.2)."""
    context = Certificates([authority.issue(ca, tmp_path, ("localhost",))]).context
    client = trusting(ca)
    client.minimum_version = client.maximum_version = version
    theirs, ours = shake(context, client, "localhost")
    ours.write(b"x")
    assert theirs.read(1) == b"x"  # and with it what came before: tickets of TLS 1.3 are no part of the handshake
    assert theirs.session is not None
    assert theirs.session.has_ticket == resumable


async def start_tls(link: Link, engine: Lines, context: ssl.SSLContext) -> None:
    assert await link.next(engine) == b"STARTTLS"
    link.write(b"220 go\n")
    await link.start_tls(context, engine)


def upgrade(theirs: socket.socket, ca: CertificateFiles, opening: bytes) -> bytes:
    theirs.settimeout(60)
    theirs.sendall(opening)
    assert theirs.recv(100) == b"220 go\n"
    with trusting(ca).wrap_socket(theirs, server_hostname="localhost") as secure:
        secure.sendall(b"inside\n")
        return secure.recv(100)


async def test_starttls_forgets_what_was_sent_in_plain_text(ca: CertificateFiles, tmp_path: Path) -> None:
    context = Certificates([authority.issue(ca, tmp_path, ("localhost",))]).context
    ours, theirs = socket.socketpair()
    link, engine = await open_link(ours), Lines()
    client = asyncio.create_task(asyncio.to_thread(upgrade, theirs, ca, b"STARTTLS\ninjected\n"))
    await start_tls(link, engine, context)
    assert link.tls is not None
    assert link.tls.version == "TLSv1.3"
    assert link.tls.cipher.startswith("TLS_")
    assert await link.next(engine) == b"inside"
    link.write(b"seen")
    await link.flush()
    assert await client == b"seen"
    assert await link.next(engine) is None
    link.close()
    await asyncio.wait_for(link.wait_closed(), 60)


async def test_a_failed_handshake_is_a_connection_error(ca: CertificateFiles, tmp_path: Path) -> None:
    context = Certificates([authority.issue(ca, tmp_path, ("localhost",))]).context
    ours, theirs = socket.socketpair()
    link, engine = await open_link(ours), Lines()
    theirs.sendall(b"STARTTLS\n")
    asyncio.get_running_loop().call_later(0.05, theirs.sendall, b"this is no ClientHello\r\n" * 10)
    with pytest.raises(ConnectionError, match="TLS handshake failed"):
        await start_tls(link, engine, context)
    assert link.closing
    theirs.close()
    await asyncio.wait_for(link.wait_closed(), 60)


def test_a_form_of_certificate_that_only_openssl_knows(ca: CertificateFiles, tmp_path: Path) -> None:
    """BEGIN TRUSTED CERTIFICATE: TLS works as ever, and no login is bound to the certificate."""
    files = authority.issue(ca, tmp_path, ("home.test",))
    text = files.certificate.read_text("ascii").replace(" CERTIFICATE-", " TRUSTED CERTIFICATE-")
    files.certificate.write_text(text, "ascii")
    assert tls.load(files).certificate == b""
    assert end_point(b"") is None
