"""TLS for servers: contexts, a table of certificates by name.

Clients are asked for certificates only where a file of authorities is named for that (limits.md, S26). One that is
not good makes no difference: the client is as one without (clientcerts.py).

What it does NOT do: it fetches no certificate from anywhere (that is ACME's work).
Certificates of our own making are in authority.py; TLS from the client's side is in peer.py.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from posthouse.net.openssl import never_refuse_certificates

REVOCATIONS = b"-----BEGIN X509 CRL-----"


class CertificateError(Exception):
    """A certificate or key that cannot be used; the text says which file, and why."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate chain and its private key, PEM, leaf first."""

    certificate: Path
    key: Path


class NamedBy(Enum):
    """What of a client's certificate says which user it is for."""

    EMAIL = "email"  # an address in subjectAltName (RFC 5280 §4.2.1.6)
    SUBJECT = "subject"  # emailAddress of the subject, or else its commonName


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Clients are asked for a certificate of these authorities (PEM, with revocation lists where there are some)."""

    authorities: Path
    named_by: NamedBy = NamedBy.EMAIL


class ServerContext(ssl.SSLContext):
    """A context that knows the certificate that it shows, DER, and what it asks of clients."""

    certificate: bytes = b""
    clients: ClientCertificates | None = None


class Certificates:
    """A server's certificates: one context for listeners and STARTTLS, which answers each name with its certificate
    (Server Name Indication, RFC 6066 §3) and unknown names with the first. TLS 1.2 and later (RFC 8996)."""

    def __init__(self, files: Sequence[CertificateFiles], clients: ClientCertificates | None = None) -> None:
        """`clients`: ask them for a certificate. Raises CertificateError."""
        if not files:
            raise CertificateError("no certificate is configured")
        self._by_name = _contexts(files, clients) if len(files) > 1 else {}
        self.context = load(files[0], clients)
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        context = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        if context is not None:
            connection.context = context


def _contexts(all_files: Sequence[CertificateFiles], clients: ClientCertificates | None) -> dict[str, ServerContext]:
    from posthouse.net.authority import names  # here, because reading certificates takes 40 ms to import

    by_name: dict[str, ServerContext] = {}
    for files in reversed(all_files):  # the first certificate that has a name answers for it
        context = load(files, clients)
        by_name.update((name, context) for name in names(files.certificate))
    return by_name


def server_context() -> ServerContext:
    """TLS 1.2 and later (RFC 8996), without a certificate yet."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Of TLS 1.3 alone: with a ticket it takes the same round trip, and two cost each client a write (decision 0132).
    context.num_tickets = 0
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def load(files: CertificateFiles, clients: ClientCertificates | None = None) -> ServerContext:
    """A server context with this certificate. Raises CertificateError."""
    context = server_context()
    for path in (files.certificate, files.key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise CertificateError(f"{path}: {error.strerror}") from error
    try:
        context.load_cert_chain(files.certificate, files.key)
    except ssl.SSLError as error:
        reason = f"it or its key file {files.key} holds no such PEM"
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"the key in {files.key} does not belong to this certificate"
        raise CertificateError(f"{files.certificate}: {reason}") from error
    context.certificate = _leaf(files.certificate)
    if clients is not None:
        ask_clients(context, clients)
    return context


def _leaf(path: Path) -> bytes:
    """The first certificate of a PEM file, DER; nothing where OpenSSL knows a form of it that `ssl` does not, as BEGIN
    TRUSTED CERTIFICATE: then no login is bound to it."""
    _, begin, after = path.read_bytes().decode("ascii", "replace").partition(ssl.PEM_HEADER)
    try:
        return ssl.PEM_cert_to_DER_cert(begin + after.partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER)
    except ValueError:
        return b""


def ask_clients(context: ServerContext, clients: ClientCertificates) -> None:
    """From now on the handshake asks for a certificate, and goes on without one. Raises CertificateError."""
    try:
        lists = REVOCATIONS in clients.authorities.read_bytes()
        context.load_verify_locations(clients.authorities)
    except ssl.SSLError as error:
        raise CertificateError(f"{clients.authorities}: it holds no certificates (PEM)") from error
    except OSError as error:
        raise CertificateError(f"{clients.authorities}: {error.strerror}") from error
    context.clients = clients
    context.verify_mode = ssl.CERT_OPTIONAL
    if lists:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    if not never_refuse_certificates(context):
        raise CertificateError(f"{clients.authorities}: this Python cannot let clients with a bad certificate go on")
