"""wire/sasl.py (RFC 4422, RFC 4616, RFC 5802)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.sasl import (
    MALFORMED,
    MECHANISMS,
    REFUSED,
    Challenge,
    Credentials,
    KeysWanted,
    Proven,
    ScramSha256,
    Step,
    decode,
    start,
)
from posthouse.wire.scram import derive, fake_keys
from scram_peer import ScramPeer

KEYS = derive("pencil", b"salt of sixteen ")


def step(mechanism: str, *messages: bytes | None) -> Step:
    """The last step of an exchange."""
    exchange = start(mechanism, "nonce")
    assert exchange is not None
    steps = [exchange.step(message) for message in messages]
    return steps[-1]


def test_mechanisms() -> None:
    assert MECHANISMS == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert all(start(name.lower(), "nonce") for name in MECHANISMS)
    for name in ("CRAM-MD5", "SCRAM-SHA-256-PLUS", "", "EXTERNAL"):
        assert start(name, "nonce") is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\0anna\0secret", Credentials("anna", "secret")),
        (b"anna\0anna\0secret", Credentials("anna", "secret")),
        (b"\0anna@home.test\0p\xc3\xa4ss w\xc3\xb6rd", Credentials("anna@home.test", "päss wörd")),
        (b"ben\0anna\0secret", REFUSED),
        (b"", MALFORMED),
        (b"anna\0secret", MALFORMED),
        (b"\0anna\0secret\0", MALFORMED),
        (b"\0anna\0sec\0ret", MALFORMED),
        (b"\0\0secret", MALFORMED),
        (b"\0anna\0", MALFORMED),
        (b"\0an\xffna\0secret", MALFORMED),
        (b"\0anna\0secr\xff", MALFORMED),
        (b"\0" + b"a" * 256 + b"\0secret", MALFORMED),
        (b"a" * 256 + b"\0anna\0secret", MALFORMED),
        (b"\0anna\0" + b"s" * 1025, MALFORMED),
    ],
)
def test_plain(message: bytes, expected: Step) -> None:
    """RFC 4616 §2."""
    assert step("PLAIN", message) == expected
    assert step("PLAIN", None) == Challenge(b"")
    assert step("PLAIN", None, message) == expected


def test_login() -> None:
    assert step("LOGIN", None) == Challenge(b"Username:")
    assert step("LOGIN", None, b"anna") == Challenge(b"Password:")
    assert step("LOGIN", b"anna") == Challenge(b"Password:")
    assert step("LOGIN", b"anna", b"secret") == Credentials("anna", "secret")
    assert step("LOGIN", b"anna", b"") == MALFORMED
    assert step("LOGIN", b"", b"secret") == MALFORMED
    assert step("LOGIN", b"anna\0x") == MALFORMED
    assert step("LOGIN", b"anna", b"secret\0x") == MALFORMED


def scram(password: str, header: bytes = b"n,,") -> tuple[ScramSha256, ScramPeer, Step]:
    exchange, client = ScramSha256("server"), ScramPeer("anna", password, "client")
    return exchange, client, exchange.step(header + client.first()[3:])


def test_scram_goes_through() -> None:
    """RFC 5802 §5, with the server's signature as a challenge (RFC 4954 §4)."""
    exchange, client, wanted = scram("pencil")
    assert wanted == KeysWanted("anna")
    challenge = exchange.keys(KEYS)
    assert isinstance(challenge, Challenge)
    last = exchange.step(client.final(challenge.octets))
    assert isinstance(last, Challenge)
    assert client.verify(last.octets)
    assert exchange.step(b"") == Proven("anna", KEYS)


def test_scram_success_takes_no_more_words() -> None:
    exchange, client, _ = scram("pencil")
    challenge = exchange.keys(KEYS)
    assert isinstance(challenge, Challenge)
    exchange.step(client.final(challenge.octets))
    assert exchange.step(b"x") == REFUSED


@pytest.mark.parametrize(("password", "keys"), [("pencils", KEYS), ("pencil", fake_keys("anna", b"secret"))])
def test_scram_refuses_at_the_end_only(password: str, keys: object) -> None:
    """A wrong password and an unknown user look alike (RFC 5802 §5.1)."""
    exchange, client, wanted = scram(password)
    assert wanted == KeysWanted("anna")
    challenge = exchange.keys(KEYS if keys is KEYS else fake_keys("anna", b"secret"))
    assert isinstance(challenge, Challenge)
    assert exchange.step(client.final(challenge.octets)) == REFUSED


def test_scram_for_another_is_refused() -> None:
    assert scram("pencil", b"n,a=ben,")[2] == REFUSED
    assert scram("pencil", b"n,a=anna,")[2] == KeysWanted("anna")
    assert scram("pencil", b"p=tls-exporter,,")[2] == MALFORMED
    assert step("SCRAM-SHA-256", None) == Challenge(b"")
    assert step("SCRAM-SHA-256", None, b"") == MALFORMED


def test_only_scram_wants_keys() -> None:
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
        exchange = start(mechanism, "nonce")
        assert exchange is not None
        with pytest.raises(RuntimeError):
            exchange.keys(KEYS)


def test_passwords_are_not_printed() -> None:
    assert "secret" not in repr(Credentials("anna", "secret"))


@pytest.mark.parametrize("text", [b"*", b"YQ", b"YQ=", b"YQ===", b"Y Q==", b"YQ==\n", b"YQ==YQ==", b"\xff", b"Y-_="])
def test_what_is_not_base64(text: bytes) -> None:
    """RFC 4648 §3."""
    assert decode(text) is None


@given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=40), max_size=4))
def test_garbage_never_proves_anything(mechanism: str, messages: list[bytes]) -> None:
    exchange = start(mechanism, "nonce")
    assert exchange is not None
    for message in messages:
        given_back = exchange.step(message)
        assert not isinstance(given_back, Proven)
        if isinstance(given_back, KeysWanted):
            exchange.keys(KEYS)
