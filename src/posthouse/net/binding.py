"""What a TLS connection can be bound to: channel bindings for SCRAM with -PLUS (RFC 5929, RFC 9266).

`bindings` is for the server's side, `client_binding` for the client's. A client that can bind takes the default binding
of its TLS version: tls-exporter under TLS 1.3 (RFC 9266 §3), tls-unique before it (RFC 5802 §6.1). Where that is not to
be had no binding is offered at all, because such a client would choose -PLUS and could not come in.

It does NOT offer tls-unique where the master secret does not depend on the whole handshake: it is not unique then
(RFC 7627 §1).
"""

import functools
import hashlib
import ssl

from posthouse.net import openssl
from posthouse.net.tls import ServerContext
from posthouse.wire.scram_client import Binding

END_POINT = "tls-server-end-point"  # RFC 5929 §4
UNIQUE = "tls-unique"  # RFC 5929 §3
EXPORTER = "tls-exporter"  # RFC 9266 §2
# RFC 9266 §2
LABEL = b"EXPORTER-Channel-Binding"
EXPORTED = 32


def bindings(session: ssl.SSLObject | None) -> dict[str, bytes]:
    """Everything that the server's side of a connection can be bound to, by name; nothing in plain text."""
    if session is None:
        return {}
    found = _default(session)
    context = session.context
    if found and isinstance(context, ServerContext):
        ours = end_point(context.certificate)
        found |= {END_POINT: ours} if ours is not None else {}
    return found


def client_binding(session: ssl.SSLObject | None) -> Binding | None:
    """What the client's side of a connection is bound to: the default of its TLS version, which every server that
    announces -PLUS must know, or else the certificate of the server; None in plain text."""
    if session is None:
        return None
    for name, octets in _default(session).items():
        return Binding(name, octets)
    certificate = session.getpeercert(binary_form=True)
    theirs = None if certificate is None else end_point(certificate)
    return None if theirs is None else Binding(END_POINT, theirs)


def _default(session: ssl.SSLObject) -> dict[str, bytes]:
    if session.version() == "TLSv1.3":
        exported = openssl.exported(session, LABEL, EXPORTED)
        return {} if exported is None else {EXPORTER: exported}
    unique = session.get_channel_binding(UNIQUE) if openssl.has_extended_master_secret(session) else None
    return {UNIQUE: unique} if unique else {}


@functools.lru_cache(256)
def end_point(certificate: bytes) -> bytes | None:
    """The hash of the server's certificate (DER) by the hash of its signature; SHA-256 where that is MD5 or SHA-1.
    None where the signature has no hash of its own, as Ed25519: the RFC leaves that open (RFC 5929 §4.1)."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        found = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
        name = "" if found is None else found.name
        return hashlib.new("sha256" if name in ("md5", "sha1") else name, certificate).digest()
    except (ValueError, UnsupportedAlgorithm):
        return None
