"""TLS for servers: contexts, a table of certificates by name.

What it does NOT do: it fetches no certificate from anywhere (that is ACME's work) and checks no client certificate.
Certificates of our own making are in authority.py; TLS from the client's side is in peer.py.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class CertificateError(Exception):
    """A certificate or key that cannot be used; the text says which file, and why."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate chain and its private key, PEM, leaf first."""

    certificate: Path
    key: Path


class Certificates:
    """A server's certificates: one context for listeners and STARTTLS, which answers each name with its certificate
    (Server Name Indication, RFC 6066 §3) and unknown names with the first. TLS 1.2 and later (RFC 8996)."""

    def __init__(self, files: Sequence[CertificateFiles]) -> None:
        """Raises CertificateError."""
        if not files:
            raise CertificateError("no certificate is configured")
        self._by_name = _contexts(files) if len(files) > 1 else {}
        self.context = load(files[0])
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        context = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        if context is not None:
            connection.context = context


def _contexts(all_files: Sequence[CertificateFiles]) -> dict[str, ssl.SSLContext]:
    from posthouse.net.authority import names  # here, because reading certificates takes 40 ms to import

    by_name: dict[str, ssl.SSLContext] = {}
    for files in reversed(all_files):  # the first certificate that has a name answers for it
        context = load(files)
        by_name.update((name, context) for name in names(files.certificate))
    return by_name


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def load(files: CertificateFiles) -> ssl.SSLContext:
    """A server context with this certificate. Raises CertificateError."""
    context = _server_context()
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
    return context
