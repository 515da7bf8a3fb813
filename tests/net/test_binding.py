"""net/binding.py and net/openssl.py: what a TLS connection can be bound to (RFC 5929, RFC 9266)."""

import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from certificates import Wish, client_context, issue, make_authority, shake
from posthouse.net import openssl
from posthouse.net.binding import END_POINT, EXPORTED, EXPORTER, LABEL, UNIQUE, bindings, client_binding, end_point
from posthouse.net.tls import Certificates

# Signed by SHA-1, as cryptography signs none any more.
SHA1 = """\
-----BEGIN CERTIFICATE-----
MIIBbzCCARagAwIBAgIUVy3xxzxwbYu+qdXMZFyXUT0+TbcwCQYHKoZIzj0EATAO
MQwwCgYDVQQDDANvbGQwHhcNMjYxMTI2MTcxNTQyWhcNMzYxMTIzMTcxNTQyWjAO
MQwwCgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASAI3tdYNF0
WBKBwI4HigDvh3IWraB+4hzlzNsJs5RHdBWGrRZIqATgoVdf8FfO+9ovGeaLgzwk
beX7tnk8ptCCo1MwUTAdBgNVHQ4EFgQURyOt3YAoU9fOjGeDKfrcurPUQ+UwHwYD
VR0jBBgwFoAURyOt3YAoU9fOjGeDKfrcurPUQ+UwDwYDVR0TAQH/BAUwAwEB/zAJ
BgcqhkjOPQQBA0gAMEUCIHTuSRxYVk5nXv1wf0QkSpW4kZb3uDoHgd4XcU0YLqUd
AiEAkhNm/LgyC3o6bEpYj5+wcAMyZ8tLE4A4CAZotnqaUmk=
-----END CERTIFICATE-----
"""


def made(folder: Path, **wish: object) -> Certificates:
    authority = make_authority()
    hosts = ("mail.home.test",)
    return Certificates([issue(authority, folder, Wish(hosts=hosts, **wish))])  # type: ignore[arg-type]


def test_both_ends_export_the_same(tmp_path: Path) -> None:
    """RFC 9266 §2, under TLS 1.3."""
    theirs, ours = shake(made(tmp_path).context, client_context())
    found = bindings(ours)
    assert set(found) == {EXPORTER, END_POINT}
    assert found[EXPORTER] == openssl.exported(theirs, LABEL, EXPORTED)
    assert len(found[EXPORTER]) == 32
    other = shake(made(tmp_path / "other").context, client_context())[1]
    assert bindings(other)[EXPORTER] != found[EXPORTER]


def test_tls_unique_before_tls_1_3(tmp_path: Path) -> None:
    """RFC 5929 §3."""
    theirs, ours = shake(made(tmp_path).context, client_context(tls12=True))
    assert openssl.has_extended_master_secret(ours)
    assert set(bindings(ours)) == {UNIQUE, END_POINT}
    assert bindings(ours)[UNIQUE] == theirs.get_channel_binding("tls-unique")


def test_nothing_where_the_default_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that can bind would choose -PLUS and could not come in (RFC 5802 §6.1)."""
    for tls12 in (False, True):
        session = shake(made(tmp_path).context, client_context(tls12=tls12))[1]
        with monkeypatch.context() as patch:
            patch.setattr(openssl, "_library", lambda: None)
            assert bindings(session) == {}
    assert bindings(None) == {}


@pytest.mark.parametrize("tls12", [False, True])
def test_the_side_of_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls12: bool) -> None:
    """The default of the TLS version (RFC 9266 §3, RFC 5802 §6.1), or else the certificate."""
    theirs, ours = shake(made(tmp_path).context, client_context(tls12=tls12))
    binding, known = client_binding(theirs), bindings(ours)
    assert binding is not None
    assert binding.name == (UNIQUE if tls12 else EXPORTER)
    assert known[binding.name] == binding.octets
    monkeypatch.setattr(openssl, "_library", lambda: None)
    assert client_binding(theirs) == (END_POINT, known[END_POINT])
    assert client_binding(None) is None


def test_a_context_of_another_kind_is_bound_to_no_certificate(tmp_path: Path) -> None:
    files = issue(make_authority(), tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    assert set(bindings(shake(context, client_context())[1])) == {EXPORTER}


@pytest.mark.parametrize(("signed", "bound"), [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384")])
def test_the_certificate_by_the_hash_of_its_signature(tmp_path: Path, signed: object, bound: str) -> None:
    """RFC 5929 §4.1."""
    theirs, ours = shake(made(tmp_path, hash=signed).context, client_context())
    certificate = theirs.getpeercert(binary_form=True)
    assert certificate is not None
    assert bindings(ours)[END_POINT] == hashlib.new(bound, certificate).digest() == end_point(certificate)


@pytest.mark.parametrize("digest", [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("scheme", ["ecdsa", "pkcs1", "pss"])
def test_every_signature(tmp_path: Path, digest: hashes.HashAlgorithm, scheme: str) -> None:
    """RFC 5280 §4.1.1.2, RFC 4055 §3.1, RFC 5758 §3.2: the hash that cryptography finds."""
    key = rsa.generate_private_key(65537, 2048) if scheme != "ecdsa" else None
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size) if scheme == "pss" else None
    files = issue(make_authority(key=key), tmp_path, Wish(hash=digest, padding=pss))
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    found = certificate.signature_hash_algorithm
    assert found is not None
    der = certificate.public_bytes(Encoding.DER)
    assert end_point(der) == hashlib.new(found.name, der).digest()


@given(st.binary(max_size=60), st.integers(0, 300))
def test_what_is_no_certificate(octets: bytes, length: int) -> None:
    real = ssl.PEM_cert_to_DER_cert(SHA1)
    for der in (octets, real[:length], real[:length] + octets, b"\x30\x84" + octets):
        end_point(der)
    assert end_point(b"") is None
    assert end_point(b"no certificate") is None


def test_an_old_hash_is_not_used(tmp_path: Path) -> None:
    """RFC 5929 §4.1: SHA-256 where the certificate was signed by SHA-1."""
    certificate = ssl.PEM_cert_to_DER_cert(SHA1)
    assert end_point(certificate) == hashlib.sha256(certificate).digest()


def test_a_signature_without_a_hash_has_no_binding(tmp_path: Path) -> None:
    """RFC 5929 §4.1: of Ed25519 nothing is said."""
    authority = make_authority(key=ed25519.Ed25519PrivateKey.generate())
    files = issue(authority, tmp_path, Wish(hash=None, hosts=("mail.home.test",)))
    assert set(bindings(shake(Certificates([files]).context, client_context())[1])) == {EXPORTER}
    assert end_point(b"no certificate") is None


def test_the_certificate_of_this_connection_counts(tmp_path: Path) -> None:
    """Server Name Indication chooses another context, and with it another certificate (RFC 6066 §3)."""
    authority = make_authority()
    files = [issue(authority, tmp_path / host, Wish(hosts=(host,))) for host in ("a.test", "b.test")]
    context = Certificates(files).context
    found = {}
    for host in ("a.test", "b.test", "elsewhere.test"):
        theirs, ours = shake(context, client_context(), host)
        found[host] = bindings(ours)[END_POINT]
        assert found[host] == end_point(theirs.getpeercert(binary_form=True) or b"")
    assert found["a.test"] == found["elsewhere.test"] != found["b.test"]


def test_what_is_laid_out_otherwise_is_left_alone(tmp_path: Path) -> None:
    """A TLS object of another make has no pointer of OpenSSL's."""
    session = shake(made(tmp_path).context, client_context())[1]
    assert openssl.pointer(session) is not None

    class Other:
        context = session.context
        _sslobj = "of another make"

    assert openssl.pointer(Other()) is None  # type: ignore[arg-type]
    assert openssl.exported(Other(), LABEL, 32) is None  # type: ignore[arg-type]
    assert not openssl.has_extended_master_secret(Other())  # type: ignore[arg-type]
    assert not openssl.certificate_good(Other())  # type: ignore[arg-type]
