"""TLS from the client's side: contexts, what the server has shown of itself, and why a handshake failed, in words.

Whether what was shown is enough is for the caller to say: names are compared here (RFC 6125 §6.4, RFC 9525 §6.3), TLSA
records in chain.py. What it does NOT do: it looks at no revocation list and shows no certificate of ours.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

CHAIN = 12  # certificates of one server that are handed on


@lru_cache(1)
def unverified_context() -> ssl.SSLContext:
    """For servers whose certificate does not matter, or is judged afterwards (RFC 7435 §3, RFC 7672 §3).

    Keys and signatures of any strength are taken: the other choice would be plain text."""
    context = _client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


@lru_cache(4)
def verified_context(authorities: Path | None = None) -> ssl.SSLContext:
    """For servers that must show a certificate of an authority: the system's, or those in a PEM file. The name is
    compared afterwards (`names_server`), because there may be several reference identifiers (RFC 6125 §6.2.1).

    Made when it is first needed: reading the system's authorities takes 60 ms."""
    context = _client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(authorities)
    return context


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def chain_of(session: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server has shown, DER, its own first; whatever they are worth.

    Python 3.13 has this under a public name; before, the object inside has it. Where neither is there only the
    server's own certificate can be had (decision 0078)."""
    public = getattr(session, "get_unverified_chain", None)
    if public is not None:
        return list(public() or ())[:CHAIN]
    inside = getattr(getattr(session, "_sslobj", None), "get_unverified_chain", None)
    if inside is not None:
        return [cast(Any, one).public_bytes(_DER) for one in (inside() or ())[:CHAIN]]
    leaf = session.getpeercert(binary_form=True)
    return [] if leaf is None else [leaf]


_DER = 2  # _ssl.ENCODING_DER


def names_server(session: ssl.SSLObject, names: Sequence[str]) -> bool:
    """Whether the certificate, verified already, is for one of these names or addresses (RFC 6125 §6.4)."""
    shown = (session.getpeercert() or {}).get("subjectAltName", ())
    for entry in shown:
        kind, value = str(entry[0]), str(entry[1])
        if any(_is_for(kind, value, name.lower().rstrip(".")) for name in names):
            return True
    return False


def _is_for(kind: str, value: str, name: str) -> bool:
    if kind == "IP Address":
        return _address(value) is not None and _address(value) == _address(name.strip("[]").removeprefix("ipv6:"))
    if kind != "DNS":
        return False
    value = value.lower().rstrip(".")
    # RFC 6125 §6.4.3: "*" stands for one whole label, the left-most, and never for all of a top-level domain.
    if value.startswith("*."):
        return value.count(".") > 1 and name.partition(".")[2] == value[2:] and _address(name) is None
    return value == name


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


class TlsFailure(Enum):
    """What went wrong, in the words of a report (RFC 8460 §4.3)."""

    NOT_OFFERED = "starttls-not-supported"
    HOST_MISMATCH = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    OTHER = "validation-failure"


_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def kind_of_failure(error: BaseException) -> TlsFailure:
    """The kind of a failed handshake."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TlsFailure.EXPIRED if cause.verify_code == _EXPIRED else TlsFailure.NOT_TRUSTED
    return TlsFailure.OTHER


def why_failed(error: BaseException) -> str:
    """Why a handshake failed, in words; of OpenSSL's own names nothing better is known."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return str(cause.verify_message or "the certificate cannot be verified").lower()
    if isinstance(cause, ssl.SSLError):
        return (cause.reason or "protocol error").replace("_", " ").lower()
    if "handshake is taking longer" in str(cause):
        return "it took too long"
    return "the server hung up"
