"""Does the chain that a server has shown lead to what its TLSA records name (RFC 7671 §5, RFC 7672 §3)?

TLS itself is done without verification then (`ssl.CERT_NONE`): the anchors of DANE are not those of the system, and
are known only with the chain. Names, dates and signatures of DANE-TA(2) are checked here.
"""

import contextlib
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from posthouse.trust import dane
from posthouse.trust.resolver import Tlsa

CHAIN = 12  # certificates of one server that are looked at; honest chains have two to four
# What RFC 5280 §4.2.1.9 and RFC 7672 §3.2.3 need; nothing else is asked.
AUTHORITIES = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
SERVERS = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
NAMES = 4  # reference identifiers of one server: its name, the destination's, and where CNAMEs lead


def dane_verified(chain: Sequence[bytes], tlsa: Sequence[Tlsa], names: Sequence[str], at: datetime) -> bool:
    """Whether the server that showed `chain` (DER, its own certificate first) is the one that `tlsa` names.

    `names` are the reference identifiers of RFC 7672 §3.2.2, `at` is the time, aware of its zone. Never raises."""
    records = dane.usable(tlsa)
    if not chain:
        return False
    leaf, issuers = chain[0], chain[1:CHAIN]
    if dane.names_leaf(records, leaf):
        return True
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        between = [x509.load_der_x509_certificate(one) for one in issuers]
        roots = _read(dane.anchors(records, issuers))
        keys = [*dane.anchor_keys(records), *(_key(root) for root in roots if not _has(root, x509.BasicConstraints))]
        if any(_signed_by(certificate, key) for key in keys):  # RFC 7671 §5.2.3: there is no issuer to look at
            return _current(certificate, at) and _is_for(certificate, names)
        roots += [one for one in between if _may_sign(one) and any(_signed_by(one, key) for key in keys)]
        return any(_leads(certificate, between, root, names, at) for root in roots)
    except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension):
        return False


def _read(certificates: Sequence[bytes]) -> list[x509.Certificate]:
    found = []
    for octets in certificates:
        with contextlib.suppress(ValueError, TypeError):
            found.append(x509.load_der_x509_certificate(octets))
    return found


def _leads(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    root: x509.Certificate,
    names: Sequence[str],
    at: datetime,
) -> bool:
    """Whether there is a way of signatures from the leaf to this anchor, with a name of the server in the leaf.

    The verifier of `cryptography` looks at dates, lengths and name constraints (RFC 5280 §6); which other extensions
    there are is not asked, because certificates of DANE are often made by hand. An anchor that is even without
    basicConstraints is taken for its bare key."""
    return any(_leads_as(leaf, between, root, name, at) for name in names[:NAMES])


def _leads_as(
    leaf: x509.Certificate, between: Sequence[x509.Certificate], root: x509.Certificate, name: str, at: datetime
) -> bool:
    try:
        verifier = (
            PolicyBuilder()
            .store(Store([root]))
            .time(at)
            .max_chain_depth(CHAIN)
            .extension_policies(ca_policy=AUTHORITIES, ee_policy=SERVERS)
            .build_server_verifier(x509.DNSName(name))
        )
        verifier.verify(leaf, [one for one in between if _may_sign(one)])
    except (VerificationError, ValueError, TypeError):
        return False
    return _is_for(leaf, (name,))


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _has(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> bool:
    return any(isinstance(extension.value, kind) for extension in certificate.extensions)


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it is an authority's (RFC 5280 §4.2.1.9, §4.2.1.3)."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def _is_for(leaf: x509.Certificate, names: Sequence[str]) -> bool:
    """Whether one of the names is among those of the certificate (RFC 7672 §3.2.3, RFC 6125 §6.4.3)."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    shown = {one.lower().rstrip(".") for one in extension.value.get_values_for_type(x509.DNSName)}
    return any(name in shown or "*." + name.partition(".")[2] in shown for name in names)


def _current(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def _signed_by(certificate: x509.Certificate, public_key: bytes) -> bool:
    """Whether this bare key has signed it."""
    try:
        key = load_der_public_key(public_key)
        signed, digest = certificate.tbs_certificate_bytes, certificate.signature_hash_algorithm
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(certificate.signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(certificate.signature, signed, ec.ECDSA(digest))
        else:
            return False
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
