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
from weakref import WeakKeyDictionary

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
    known = _known.get(session)
    if known is None:
        known = _known[session] = _found(session)
    return known


# Asked for at each announcement and at each login. It does not change: nothing here is negotiated anew (tls.py).
_known: "WeakKeyDictionary[ssl.SSLObject, dict[str, bytes]]" = WeakKeyDictionary()


def _found(session: ssl.SSLObject) -> dict[str, bytes]:
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
    try:
        name = _signature_hash(certificate)
    except (IndexError, ValueError):
        return None
    return None if name is None else hashlib.new(name, certificate).digest()


# The two fields that are needed are read here and not by cryptography: its import holds a worker up for 0.1 s, at the
# first connection with TLS, and costs each 9 MB.
_ALGORITHMS = {  # object identifiers, as DER has them: of signatures (RFC 4055 §5, RFC 5758 §3.2)
    "2a864886f70d010104": "sha256",  # md5WithRSAEncryption
    "2a864886f70d010105": "sha256",  # sha1WithRSAEncryption
    "2a864886f70d01010b": "sha256",
    "2a864886f70d01010c": "sha384",
    "2a864886f70d01010d": "sha512",
    "2a864886f70d01010e": "sha224",
    "2a8648ce3d0401": "sha256",  # ecdsa-with-SHA1
    "2a8648ce3d040301": "sha224",
    "2a8648ce3d040302": "sha256",
    "2a8648ce3d040303": "sha384",
    "2a8648ce3d040304": "sha512",
}
_PSS = "2a864886f70d01010a"  # id-RSASSA-PSS, whose parameters name the hash (RFC 4055 §3.1)
_HASHES = {  # of hash functions (RFC 4055 §2.1)
    "608648016503040201": "sha256",
    "608648016503040202": "sha384",
    "608648016503040203": "sha512",
    "608648016503040204": "sha224",
    "2b0e03021a": "sha256",  # SHA-1
}


def _signature_hash(certificate: bytes) -> str | None:
    """RFC 5280 §4.1   Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }. Raises
    ValueError, IndexError."""
    _, at, _ = _element(certificate, 0)
    _, _, at = _element(certificate, at)  # tbsCertificate
    _, at, end = _element(certificate, at)
    _, start, at = _element(certificate, at)
    algorithm = certificate[start:at].hex()
    if algorithm != _PSS:
        return _ALGORITHMS.get(algorithm)
    _, at, end = _element(certificate, at)  # RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] DEFAULT sha1, ... }
    if at >= end or certificate[at] != 0xA0:
        return "sha256"
    for _ in range(2):  # [0], and the AlgorithmIdentifier in it
        _, at, _ = _element(certificate, at)
    _, start, at = _element(certificate, at)
    return _HASHES.get(certificate[start:at].hex())


def _element(octets: bytes, at: int) -> tuple[int, int, int]:
    """The element of DER that begins here: its tag, where its contents begin and end. Raises ValueError, IndexError."""
    tag, length, at = octets[at], octets[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(octets[at : at + count]), at + count
    if at + length > len(octets):
        raise ValueError("an element ends behind the certificate")
    return tag, at, at + length
