"""Certificates for tests, of any shape, and handshakes in memory."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from posthouse.net.tls import CertificateFiles

ADDRESS = getattr(x509, "RFC" + "822Name")  # a name of a class, and no citation


@dataclass(frozen=True)
class Authority:
    """An authority whose certificates may be of any shape."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _builder(subject: x509.Name, issuer: x509.Name, public_key: Any, days: tuple[int, int]) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )


def name(**attributes: str) -> x509.Name:
    """A name of `cn` and `email`."""
    kinds = {"cn": NameOID.COMMON_NAME, "email": NameOID.EMAIL_ADDRESS}
    return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in attributes.items()])


def make_authority(title: str = "Test clients", key: Any = None) -> Authority:
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name(cn=title), name(cn=title), key.public_key(), (-1, 365))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Authority(builder.sign(key, digest), key)


@dataclass(frozen=True)
class Wish:
    """What a certificate of `issue` is like. `days`: when it begins and ends, from now."""

    names: tuple[str, ...] = ()
    subject: x509.Name = field(default_factory=lambda: name(cn="someone"))
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH
    days: tuple[int, int] = (-1, 30)
    hash: Any = field(default_factory=hashes.SHA256)  # None for keys that sign without one
    hosts: tuple[str, ...] = ()
    padding: Any = None  # of RSA
    extension: x509.ExtensionType | None = None


def issue(authority: Authority, folder: Path, wish: Wish = Wish()) -> CertificateFiles:
    """A leaf and its key in a folder."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(wish.subject, authority.certificate.subject, key.public_key(), wish.days)
    builder = builder.add_extension(x509.ExtendedKeyUsage([wish.usage]), critical=False)
    alternatives: list[x509.GeneralName] = [ADDRESS(one) for one in wish.names]
    alternatives += [x509.DNSName(one) for one in wish.hosts]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    if wish.extension is not None:
        builder = builder.add_extension(wish.extension, critical=False)
    certificate = builder.sign(authority.key, wish.hash, rsa_padding=wish.padding)
    files = CertificateFiles(folder / "leaf.pem", folder / "leaf.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def revoked(authority: Authority, certificate: Path) -> bytes:
    """A list of revoked certificates with this one on it, PEM."""
    serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
    now = datetime.now(UTC)
    one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=1))
    crl = builder.add_revoked_certificate(one).sign(authority.key, hashes.SHA256())
    return crl.public_bytes(serialization.Encoding.PEM)


def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, host: str | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A whole handshake in memory: the client's end, the server's end. The server has read the client's last word."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname=host)
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [theirs, ours]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    return theirs, ours


def client_context(files: CertificateFiles | None = None, *, tls12: bool = False) -> ssl.SSLContext:
    """A client that believes any server, perhaps with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
