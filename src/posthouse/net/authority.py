"""Certificates read, and certificates of our own making: a private authority, its leaves, a self-signed one.

ECDSA on P-256, which every mail program knows; private keys are files of mode 0600, written whole or not at all.
"""

import contextlib
import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from posthouse.net.tls import CertificateError, CertificateFiles, load

LEAF_LIFE = timedelta(days=397)  # what mail programs still believe of a leaf
AUTHORITY_LIFE = timedelta(days=3650)  # an authority or self-signed certificate that a person has accepted by hand
BACKDATED = timedelta(hours=24)  # for clients whose clock is slow
RENEW_BEFORE = timedelta(days=30)  # a leaf of ours with less left is made anew at start
COMMON_NAME = 64  # characters; X.509 allows no more


def _read(certificate: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError as error:
        raise CertificateError(f"{certificate}: {error.strerror}") from error
    except (ValueError, IndexError) as error:
        raise CertificateError(f"{certificate}: holds no PEM certificate") from error


def names(certificate: Path) -> tuple[str, ...]:
    """The DNS names a certificate is for, lower case. Raises CertificateError."""
    try:
        extension = _read(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def expires(certificate: Path) -> datetime:
    """When the certificate ends. Raises CertificateError."""
    return _read(certificate).not_valid_after_utc


def self_signed(directory: Path, hostname: str) -> CertificateFiles:
    """The self-signed certificate for `hostname` in `directory`, made when there is none yet: mail programs will ask
    whether to trust it. Raises OSError."""
    files = CertificateFiles(directory / "self-signed.pem", directory / "self-signed.key")
    if not _fresh(files, (hostname,)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(hostname)
        certificate = _builder(subject, subject, key.public_key(), AUTHORITY_LIFE)
        certificate = _for_server(certificate, (hostname,))
        _write_pair(files, [certificate.sign(key, hashes.SHA256())], key)
    return files


def authority(directory: Path, title: str) -> CertificateFiles:
    """The private certificate authority in `directory`, made when there is none yet. Raises OSError."""
    files = CertificateFiles(directory / "ca.pem", directory / "ca.key")
    if not _fresh(files, ()):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(title)
        certificate = (
            _builder(subject, subject, key.public_key(), AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        _write_pair(files, [certificate.sign(key, hashes.SHA256())], key)
    return files


def issue(issuer: CertificateFiles, directory: Path, hosts: Sequence[str]) -> CertificateFiles:
    """A server certificate for `hosts` (names or IP addresses), signed by `issuer`; one made before is kept while it
    is good for them. Raises CertificateError and OSError."""
    files = CertificateFiles(directory / "server.pem", directory / "server.key")
    signer = _read(issuer.certificate)
    if not _fresh(files, hosts) or _read(files.certificate).issuer != signer.subject:
        signing_key = serialization.load_pem_private_key(issuer.key.read_bytes(), None)
        if not isinstance(signing_key, ec.EllipticCurvePrivateKey):
            raise CertificateError(f"{issuer.key}: not the key of an authority made by Posthouse")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(_name(hosts[0]), signer.subject, key.public_key(), LEAF_LIFE)
        certificate = _for_server(certificate, hosts).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
        )
        _write_pair(files, [certificate.sign(signing_key, hashes.SHA256()), signer], key)
    return files


def _fresh(files: CertificateFiles, hosts: Sequence[str]) -> bool:
    """Whether the pair is there, is good for some time yet and is for these hosts."""
    try:
        load(files)
        known = {*names(files.certificate), *_addresses(files.certificate)}
        return expires(files.certificate) > datetime.now(UTC) + RENEW_BEFORE and known.issuperset(hosts)
    except CertificateError:
        return False


def _addresses(certificate: Path) -> tuple[str, ...]:
    with contextlib.suppress(x509.ExtensionNotFound):
        extension = _read(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(str(address) for address in extension.value.get_values_for_type(x509.IPAddress))
    return ()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:COMMON_NAME])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now - BACKDATED + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _for_server(certificate: x509.CertificateBuilder, hosts: Sequence[str]) -> x509.CertificateBuilder:
    return (
        certificate.add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pair(files: CertificateFiles, chain: Sequence[x509.Certificate], key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(files.key, pem, 0o600)
    _write(files.certificate, b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain), 0o644)


def _write(path: Path, octets: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(descriptor)
    scratch.rename(path)
