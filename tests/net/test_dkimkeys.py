"""Keys of DKIM: made here, and read from strangers (RFC 6376 §3.6.1, RFC 8301 §3.2, RFC 8463 §3)."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from posthouse.net.dkimkeys import BITS, MOST_BITS, Pair, check_seal, make_pair, make_seal, record
from posthouse.trust.dkim import Algorithm, Fault
from posthouse.trust.tags import KeyRecord, read_key

DIGEST = sha256(b"something").digest()
DER, SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
PAIRS = {algorithm: make_pair(algorithm) for algorithm in Algorithm}


@pytest.fixture(params=list(Algorithm))
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    assert isinstance(request.param, Algorithm)
    return request.param


@pytest.fixture
def pair(algorithm: Algorithm) -> Pair:
    return PAIRS[algorithm]


def test_what_is_sealed_is_good(algorithm: Algorithm, pair: Pair) -> None:
    seal = make_seal(pair.private)(DIGEST)
    assert check_seal(algorithm, pair.public, seal, DIGEST) is None
    assert check_seal(algorithm, pair.public, seal, bytes(32)) is Fault.SEAL
    for wrong in (b"", seal[:-1], seal + b"\0", bytes(len(seal))):
        assert check_seal(algorithm, pair.public, wrong, DIGEST) is Fault.SEAL
    another = make_pair(algorithm)
    assert check_seal(algorithm, another.public, seal, DIGEST) is Fault.SEAL


def test_its_record_is_read(algorithm: Algorithm, pair: Pair) -> None:
    text = record(algorithm, pair.public)
    assert read_key(text.encode()) == KeyRecord(algorithm.kind, pair.public)
    assert len(text) < 255 or algorithm is Algorithm.RSA


def test_both_forms_of_rsa_keys() -> None:
    """RFC 6376 §3.6.1 says RSAPublicKey, and everybody publishes SubjectPublicKeyInfo."""
    pair = PAIRS[Algorithm.RSA]
    key = serialization.load_der_public_key(pair.public)
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == BITS
    seal = make_seal(pair.private)(DIGEST)
    for form in (SPKI, serialization.PublicFormat.PKCS1):
        assert check_seal(Algorithm.RSA, key.public_bytes(DER, form), seal, DIGEST) is None


def numbers(bits: int, exponent: int = 65_537) -> bytes:
    return rsa.RSAPublicNumbers(exponent, (1 << bits - 1) + 1).public_key().public_bytes(DER, SPKI)


def test_keys_of_strangers_are_bounded() -> None:
    """RFC 8301 §3.2: at least 1,024 bits; 4,096 must be possible."""
    wanted = [(1_023, Fault.KEY_SIZE), (1_024, Fault.SEAL), (4_096, Fault.SEAL), (MOST_BITS + 1, Fault.KEY_KIND)]
    for bits, fault in wanted:
        assert check_seal(Algorithm.RSA, numbers(bits), bytes(bits // 8), DIGEST) is fault, bits
    assert check_seal(Algorithm.RSA, numbers(2_048, (1 << 65) + 1), bytes(256), DIGEST) is Fault.KEY_KIND
    curve = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(DER, SPKI)
    assert check_seal(Algorithm.RSA, curve, b"", DIGEST) is Fault.KEY_KIND
    assert check_seal(Algorithm.ED25519, numbers(2_048), b"", DIGEST) is Fault.KEY_SYNTAX


@given(st.sampled_from(Algorithm), st.binary(max_size=100), st.binary(max_size=100))
def test_garbage_is_a_fault(algorithm: Algorithm, public: bytes, seal: bytes) -> None:
    assert isinstance(check_seal(algorithm, public, seal, DIGEST), Fault)


def test_only_keys_of_dkim_seal() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    octets = curve.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for wrong in (octets, b"", b"key"):
        with pytest.raises(ValueError):  # noqa: PT011 - OpenSSL words it
            make_seal(wrong)
