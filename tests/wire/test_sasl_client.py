"""wire/sasl_client.py and wire/scram_client.py (RFC 4616, RFC 5802, RFC 7677)."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.sasl import Challenge, KeysWanted, Proven, Scram
from posthouse.wire.sasl_client import PREFERENCE, begin, choose
from posthouse.wire.scram import derive
from posthouse.wire.scram_client import MOST_ITERATIONS, Binding, ScramClient

# RFC 7677 §3
SHA256_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SHA256_CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SHA256_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SHA256_LAST = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def client() -> ScramClient:
    return ScramClient("SCRAM-SHA-256", "user", "pencil", "rOprNGfwEbeRWgbNEkqO")


def test_sha_256_as_in_rfc_7677() -> None:
    """RFC 7677 §3."""
    exchange = client()
    assert exchange.first() == SHA256_FIRST
    assert exchange.final(SHA256_CHALLENGE) == SHA256_FINAL
    assert exchange.proves(SHA256_LAST)
    assert not exchange.proves(SHA256_LAST.replace(b"6", b"7"))
    assert not exchange.proves(b"e=other-error")


def test_sha_1_as_in_rfc_5802() -> None:
    """RFC 5802 §5."""
    exchange = ScramClient("SCRAM-SHA-1", "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL")
    assert exchange.first() == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    assert (
        exchange.final(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
        == b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    )
    assert exchange.proves(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        SHA256_CHALLENGE.replace(b"r=rO", b"r=xx"),  # not our nonce
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",  # nothing of the server's in it
        SHA256_CHALLENGE.replace(b"4096", b"4095"),
        SHA256_CHALLENGE.replace(b"4096", b"%d" % (MOST_ITERATIONS + 1)),
        SHA256_CHALLENGE.replace(b"4096", b"99999999999"),
        SHA256_CHALLENGE.replace(b"W22", b"W2"),
        b"m=must," + SHA256_CHALLENGE,
        SHA256_CHALLENGE + b",x=" + b"y" * 3_000,
    ],
)
def test_challenges_that_are_not_to_be_trusted(challenge: bytes) -> None:
    """RFC 5802 §5.1, RFC 7677 §4."""
    exchange = client()
    assert exchange.final(challenge) is None
    assert not exchange.proves(SHA256_LAST)


def test_names_are_escaped_and_prepared() -> None:
    """RFC 5802 §5.1, RFC 4013."""
    assert ScramClient("SCRAM-SHA-256", "a=b,c", "x", "n").first() == b"n,,n=a=3Db=2Cc,r=n"
    with pytest.raises(ValueError, match="SASL"):
        ScramClient("SCRAM-SHA-256", "a\u0007", "x", "n")


@given(st.binary(max_size=200))
def test_garbage_never_raises(octets: bytes) -> None:
    exchange = begin("SCRAM-SHA-256", "anna", "secret", "nonce")
    if exchange.answer(octets) is None:
        assert not exchange.satisfied
    assert exchange.answer(octets) is None


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        (("PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"), "SCRAM-SHA-256"),
        (("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1"), "SCRAM-SHA-1"),  # where there is nothing to be bound to
        (("LOGIN", "PLAIN"), "PLAIN"),
        (("LOGIN",), "LOGIN"),
        (("GSSAPI", "CRAM-MD5"), None),
        ((), None),
    ],
)
def test_the_strongest_is_chosen(announced: tuple[str, ...], expected: str | None) -> None:
    assert choose(announced) == expected


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        (("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"), "SCRAM-SHA-256-PLUS"),
        (("SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"), "SCRAM-SHA-1-PLUS"),
        (("SCRAM-SHA-256", "PLAIN"), "SCRAM-SHA-256"),
    ],
)
def test_bound_where_that_can_be(announced: tuple[str, ...], expected: str) -> None:
    """RFC 5802 §6: clients MUST use "p" when the server offers the -PLUS variant."""
    assert choose(announced, bound=True) == expected


def test_the_flag_of_channel_binding() -> None:
    """RFC 5802 §6."""
    binding = Binding("tls-exporter", b"exported")
    assert ScramClient("SCRAM-SHA-1-PLUS", "a", "x", "n", binding).first() == b"p=tls-exporter,,n=a,r=n"
    assert ScramClient("SCRAM-SHA-256", "a", "x", "n", binding).first() == b"y,,n=a,r=n"
    assert ScramClient("SCRAM-SHA-256", "a", "x", "n").first() == b"n,,n=a,r=n"
    with pytest.raises(ValueError, match="bound to"):
        ScramClient("SCRAM-SHA-256-PLUS", "a", "x", "n")


@pytest.mark.parametrize(("theirs", "proven"), [(b"exported", True), (b"of another connection", False)])
def test_plus_against_our_own_server(theirs: bytes, proven: bool) -> None:
    """RFC 5802 §6: who sits between has another connection to each side."""
    server = Scram("SCRAM-SHA-256-PLUS", "server", {"tls-exporter": theirs})
    exchange = begin("SCRAM-SHA-256-PLUS", "anna", "secret", "client", Binding("tls-exporter", b"exported"))
    assert server.step(exchange.initial) == KeysWanted("anna")
    challenge = server.keys(derive("secret", b"salt" * 4))
    assert isinstance(challenge, Challenge)
    last = server.step(exchange.answer(challenge.octets))
    assert isinstance(last, Challenge) is proven
    if isinstance(last, Challenge):
        assert isinstance(server.step(exchange.answer(last.octets)), Proven)
        assert exchange.satisfied


def test_plain_and_login() -> None:
    """RFC 4616 §2."""
    plain = begin("PLAIN", "jürgen", "pw", "n")
    assert plain.initial == "\0jürgen\0pw".encode()
    assert plain.answer(b"more?") is None
    login = begin("LOGIN", "anna", "pw", "n")
    assert login.initial is None
    assert not login.satisfied
    assert [login.answer(b"Username:"), login.answer(b"whatever")] == [b"anna", b"pw"]
    assert login.satisfied
    assert login.answer(b"?") is None
    for mechanism in PREFERENCE:
        with pytest.raises(ValueError, match="NUL"):
            begin(mechanism, "anna\0", "pw", "n")


def test_against_our_own_server() -> None:
    """Both sides prove themselves."""
    server, exchange = Scram("SCRAM-SHA-256", "server"), begin("SCRAM-SHA-256", "anna", "s,e=cret", "client")
    assert server.step(exchange.initial) == KeysWanted("anna")
    keys = derive("s,e=cret", b"salt" * 4)
    challenge = server.keys(keys)
    assert isinstance(challenge, Challenge)
    last = server.step(exchange.answer(challenge.octets))
    assert isinstance(last, Challenge)
    assert not exchange.satisfied
    assert server.step(exchange.answer(last.octets)) == Proven("anna", keys)
    assert exchange.satisfied


def test_a_server_that_does_not_know_the_password() -> None:
    exchange = begin("SCRAM-SHA-1", "anna", "secret", "client")
    assert exchange.answer(b"r=clientX,s=%s,i=4096" % b64encode(b"salt"))
    assert exchange.answer(b"v=" + b64encode(b"x" * 20)) is None
    assert not exchange.satisfied
