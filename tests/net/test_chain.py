"""Chains and TLSA records (RFC 6698 §2.1, RFC 7218 §2.1, RFC 7671 §5, RFC 7672 §3): what is believed, and what is not.

Certificates are read as RFC 5280 §4.1 has them, names compared as RFC 6125 §6.4.3 says."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from posthouse.net.chain import dane_verified
from posthouse.trust import dane
from posthouse.trust.resolver import Tlsa

NOW = datetime(2026, 5, 1, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
HOST = "mx.example.test"


class Authority:
    """A name and a key that sign."""

    def __init__(self, title: str, key: Key | None = None, *, ca: bool | None = True, days: int = 30) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.ca, self.days = ca, days

    def sign(self, subject: "Authority", names: tuple[str, ...] = ()) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject.name)
            .issuer_name(self.name)
            .public_key(subject.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=60))
            .not_valid_after(NOW + timedelta(days=subject.days))
        )
        if subject.ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=subject.ca, path_length=None), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


ROOT, MIDDLE, LEAF = Authority("Root"), Authority("Middle"), Authority("mx", ca=False)
ROOT_DER, MIDDLE_DER = ROOT.sign(ROOT), ROOT.sign(MIDDLE)
LEAF_DER = MIDDLE.sign(LEAF, (HOST,))
CHAIN = (LEAF_DER, MIDDLE_DER, ROOT_DER)


def sha256(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def verified(chain: tuple[bytes, ...], *records: Tlsa, names: tuple[str, ...] = (HOST,)) -> bool:
    return dane_verified(chain, records, names, NOW)


@pytest.mark.parametrize(
    "record",
    [
        Tlsa(3, 0, 0, LEAF_DER),
        Tlsa(3, 0, 1, sha256(LEAF_DER)),
        Tlsa(3, 1, 0, LEAF.spki),
        Tlsa(3, 1, 1, sha256(LEAF.spki)),
        Tlsa(3, 1, 2, hashlib.sha512(LEAF.spki).digest()),
        Tlsa(2, 0, 1, sha256(MIDDLE_DER)),
        Tlsa(2, 1, 1, sha256(MIDDLE.spki)),
        Tlsa(2, 0, 1, sha256(ROOT_DER)),
        Tlsa(2, 1, 2, hashlib.sha512(ROOT.spki).digest()),
        Tlsa(2, 0, 0, ROOT_DER),
        Tlsa(2, 1, 0, MIDDLE.spki),
        Tlsa(2, 1, 0, ROOT.spki),
    ],
    ids=lambda record: f"{record.usage} {record.selector} {record.matching}",
)
def test_what_a_record_stands_for_is_believed(record: Tlsa) -> None:
    assert verified(CHAIN, record)
    assert verified(CHAIN, Tlsa(3, 1, 1, b"\0" * 32), record), "one that matches is enough"


def test_anchors_that_need_not_be_sent() -> None:
    """RFC 7671 §5.2.3 and §5.2.2: a whole certificate or key in the record."""
    assert verified((LEAF_DER, MIDDLE_DER), Tlsa(2, 0, 0, ROOT_DER))
    assert verified((LEAF_DER,), Tlsa(2, 0, 0, MIDDLE_DER))
    assert verified((LEAF_DER,), Tlsa(2, 1, 0, MIDDLE.spki))
    assert verified((LEAF_DER, MIDDLE_DER), Tlsa(2, 1, 0, ROOT.spki))
    assert not verified((LEAF_DER,), Tlsa(2, 0, 1, sha256(MIDDLE_DER))), "a digest of what was not sent"


def test_names_count_for_anchors_and_not_for_the_leaf() -> None:
    """RFC 7672 §3.1.1, §3.2.2."""
    anchor = Tlsa(2, 1, 1, sha256(MIDDLE.spki))
    assert not verified(CHAIN, anchor, names=("other.test",))
    assert not verified(CHAIN, Tlsa(2, 1, 0, MIDDLE.spki), names=("other.test",))
    assert verified(CHAIN, anchor, names=("other.test", HOST))
    assert verified(CHAIN, Tlsa(3, 1, 1, sha256(LEAF.spki)), names=("other.test",))
    wild = (MIDDLE.sign(LEAF, ("*.example.test",)), MIDDLE_DER)
    assert verified(wild, anchor)
    assert not verified(wild, anchor, names=("a.mx.example.test",))
    nameless = (MIDDLE.sign(LEAF), MIDDLE_DER)
    assert not verified(nameless, anchor)


def test_dates_count_for_anchors_and_not_for_the_leaf() -> None:
    """RFC 7671 §5.1."""
    old = Authority("mx", ca=False, days=-1)
    chain = (MIDDLE.sign(old, (HOST,)), MIDDLE_DER)
    assert not verified(chain, Tlsa(2, 0, 1, sha256(MIDDLE_DER)))
    assert not verified(chain, Tlsa(2, 1, 0, MIDDLE.spki))
    assert verified(chain, Tlsa(3, 1, 1, sha256(old.spki)))


def test_a_chain_that_does_not_hold() -> None:
    stranger = Authority("Middle")
    forged = (stranger.sign(LEAF, (HOST,)), MIDDLE_DER, ROOT_DER)
    assert not verified(forged, Tlsa(2, 0, 1, sha256(ROOT_DER)))
    assert not verified(forged, Tlsa(2, 1, 0, MIDDLE.spki))
    not_an_authority = Authority("Middle", ca=False)
    between = ROOT.sign(not_an_authority)
    chain = (not_an_authority.sign(LEAF, (HOST,)), between, ROOT_DER)
    assert not verified(chain, Tlsa(2, 0, 1, sha256(ROOT_DER))), "a leaf signs nobody"
    assert not verified(chain, Tlsa(2, 1, 0, ROOT.spki))


def test_an_anchor_made_by_hand() -> None:
    """RSA, no extensions at all, as old scripts make them: the record says that it is the anchor."""
    plain = Authority("Old", rsa.generate_private_key(65537, 2048), ca=None)
    anchor, leaf = plain.sign(plain), plain.sign(Authority("mx", ca=False), (HOST,))
    assert verified((leaf, anchor), Tlsa(2, 0, 1, sha256(anchor)))
    assert verified((leaf,), Tlsa(2, 1, 0, plain.spki))


def test_the_strongest_digest_counts() -> None:
    """RFC 7671 §9: SHA2-256 is not looked at where the same usage and selector have SHA2-512."""
    weak, strong = Tlsa(3, 1, 1, sha256(LEAF.spki)), Tlsa(3, 1, 2, b"\0" * 64)
    assert dane.usable([weak, strong]) == (strong,)
    assert not verified(CHAIN, weak, strong)
    assert dane.usable([weak, Tlsa(3, 0, 2, b"\0" * 64)]) == (weak, Tlsa(3, 0, 2, b"\0" * 64))


def test_records_that_cannot_be_used() -> None:
    """RFC 7672 §3.1.3: PKIX usages, unknown numbers, digests of a wrong length."""
    digest = sha256(LEAF.spki)
    bad = [Tlsa(0, 1, 1, digest), Tlsa(1, 1, 1, digest), Tlsa(3, 2, 1, digest), Tlsa(3, 1, 3, digest)]
    bad += [Tlsa(3, 1, 1, digest[:-1]), Tlsa(3, 1, 2, digest), Tlsa(3, 0, 0, b""), Tlsa(255, 1, 1, digest)]
    assert dane.usable(bad) == ()
    assert not verified(CHAIN, *bad)
    assert len(dane.usable([Tlsa(3, 1, 1, digest)] * 1_000)) == dane.RECORDS
    assert dane.owner("mx.example.test", 25) == "_25._tcp.mx.example.test"


def test_public_keys_are_cut_out_as_they_stand() -> None:
    for authority in (ROOT, Authority("RSA", rsa.generate_private_key(65537, 2048))):
        assert dane.public_key(authority.sign(authority)) == authority.spki


@given(st.binary(max_size=80), st.sampled_from([lambda x: x, lambda x: LEAF_DER[: len(x) * 5], lambda x: LEAF_DER + x]))
def test_garbage_is_no_certificate(octets: bytes, spoil: Callable[[bytes], bytes]) -> None:
    garbage = spoil(octets)
    dane.public_key(garbage)
    for record in (Tlsa(2, 0, 0, garbage), Tlsa(2, 1, 0, garbage), Tlsa(2, 0, 0, ROOT_DER)):
        assert not verified((garbage, garbage, LEAF_DER), record) or garbage.startswith(LEAF_DER)
    assert not verified((), Tlsa(3, 1, 1, b"\0" * 32))
