"""wire/sasl.py (RFC 4422, RFC 4616, RFC 5802)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.oauth import Bearer
from posthouse.wire.sasl import (
    MALFORMED,
    MECHANISMS,
    REFUSED,
    Certified,
    Challenge,
    Credentials,
    KeysWanted,
    Offer,
    Proven,
    Scram,
    Step,
    decode,
    start,
)
from posthouse.wire.scram import Hash, derive, fake_keys
from scram_peer import ScramPeer

KEYS = derive("pencil", b"salt of sixteen ")
PLAINLY = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
OFFER = Offer({"tls-exporter": b"exported", "tls-server-end-point": b"hashed"}, ("anna@home.test",), bearer=True)


def step(mechanism: str, *messages: bytes | None) -> Step:
    """The last step of an exchange."""
    exchange = start(mechanism, "nonce", OFFER)
    assert exchange is not None
    steps = [exchange.step(message) for message in messages]
    return steps[-1]


def test_mechanisms() -> None:
    """Strongest first; each only where it can work (RFC 4422 §3.3, RFC 5802 §6)."""
    assert Offer().mechanisms == PLAINLY
    assert OFFER.mechanisms == MECHANISMS
    assert MECHANISMS == (
        "EXTERNAL",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-1",
        "OAUTHBEARER",
        "XOAUTH2",
        "PLAIN",
        "LOGIN",
    )
    assert Offer(names=("x",)).mechanisms == ("EXTERNAL", *PLAINLY)
    assert set(Offer(bearer=True).mechanisms) - set(PLAINLY) == {"OAUTHBEARER", "XOAUTH2"}
    for name in MECHANISMS:
        assert start(name.lower(), "nonce", OFFER)
        assert (start(name, "nonce", Offer()) is None) is (name not in PLAINLY)
    for name in ("CRAM-MD5", "", "SCRAM-SHA-512", "ANONYMOUS"):
        assert start(name, "nonce", OFFER) is None


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


def scram(password: str, header: bytes = b"n,,") -> tuple[Scram, ScramPeer, Step]:
    exchange, client = Scram("SCRAM-SHA-256", "server"), ScramPeer("anna", password, "client")
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


def test_scram_knows_its_hash() -> None:
    assert step("SCRAM-SHA-1", b"n,,n=anna,r=x") == KeysWanted("anna", Hash.SHA1)
    assert step("SCRAM-SHA-256-PLUS", b"p=tls-exporter,,n=anna,r=x") == KeysWanted("anna", Hash.SHA256)


@pytest.mark.parametrize("header", [b"n,,", b"y,,", b"p=tls-unique,,", b"p=,,", b"p=n,,", b"p=TLS-EXPORTER,,"])
def test_plus_wants_a_binding_that_is_there(header: bytes) -> None:
    """RFC 5802 §6."""
    assert step("SCRAM-SHA-256-PLUS", header + b"n=anna,r=x") == MALFORMED


def test_a_downgrade_is_noticed() -> None:
    """RFC 5802 §6: "y" where -PLUS was announced says that somebody has taken it out of the list."""
    assert step("SCRAM-SHA-256", b"y,,n=anna,r=x") == MALFORMED
    assert step("SCRAM-SHA-256", b"p=tls-exporter,,n=anna,r=x") == MALFORMED
    assert step("SCRAM-SHA-256", b"n,,n=anna,r=x") == KeysWanted("anna")
    exchange = start("SCRAM-SHA-256", "nonce", Offer())
    assert exchange is not None
    assert exchange.step(b"y,,n=anna,r=x") == KeysWanted("anna")


def test_what_is_withheld_is_not_there() -> None:
    """Who knows channel binding may then say that this server does not (RFC 5802 §6)."""
    offer = replace(OFFER, withheld=frozenset({"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "LOGIN"}))
    assert set(MECHANISMS) - set(offer.mechanisms) == offer.withheld
    assert start("LOGIN", "nonce", offer) is None
    exchange = start("SCRAM-SHA-256", "nonce", offer)
    assert exchange is not None
    assert exchange.step(b"y,,n=anna,r=x") == KeysWanted("anna")


def test_external() -> None:
    """RFC 4422 Appendix A."""
    assert step("EXTERNAL", None) == Challenge(b"")
    assert step("EXTERNAL", None, b"") == Certified("anna@home.test")
    assert step("EXTERNAL", b"") == Certified("anna@home.test")
    assert step("EXTERNAL", b"Anna@Home.test") == Certified("anna@home.test")
    assert step("EXTERNAL", b"ben@home.test") == REFUSED
    assert step("EXTERNAL", b"anna@home.test\0") == MALFORMED
    assert step("EXTERNAL", b"\xff") == MALFORMED
    assert step("EXTERNAL", b"a" * 256) == MALFORMED


def test_external_with_two_names() -> None:
    """The client has to say which."""
    offer = Offer(names=("anna@home.test", "office@home.test"))
    for message, expected in ((b"", REFUSED), (b"office@home.test", Certified("office@home.test"))):
        exchange = start("EXTERNAL", "nonce", offer)
        assert exchange is not None
        assert exchange.step(message) == expected


def test_tokens() -> None:
    """RFC 7628 §3.1."""
    assert step("OAUTHBEARER", None) == Challenge(b"")
    assert step("OAUTHBEARER", b"n,,\x01auth=Bearer x.y.z\x01\x01") == Bearer("", "x.y.z")
    assert step("XOAUTH2", None, b"user=anna\x01auth=Bearer x\x01\x01") == Bearer("anna", "x", google=True)
    assert step("OAUTHBEARER", b"") == MALFORMED
    assert step("XOAUTH2", b"\x01") == MALFORMED


def test_passwords_are_not_printed() -> None:
    assert "secret" not in repr(Credentials("anna", "secret"))


@pytest.mark.parametrize("text", [b"*", b"YQ", b"YQ=", b"YQ===", b"Y Q==", b"YQ==\n", b"YQ==YQ==", b"\xff", b"Y-_="])
def test_what_is_not_base64(text: bytes) -> None:
    """RFC 4648 §3."""
    assert decode(text) is None


@given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=40), max_size=4))
def test_garbage_never_proves_anything(mechanism: str, messages: list[bytes]) -> None:
    exchange = start(mechanism, "nonce", replace(OFFER, names=("anna@home.test", "ben@home.test")))
    assert exchange is not None
    for message in messages:
        given_back = exchange.step(message)
        assert not isinstance(given_back, Proven | Certified | Bearer)
        if isinstance(given_back, KeysWanted):
            assert isinstance(exchange, Scram)
            exchange.keys(KEYS)
