"""wire/scram.py (RFC 5802, RFC 7677, RFC 4013)."""

import stringprep
from base64 import b64decode

import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramMechanism

from posthouse.wire.scram import (
    ITERATIONS,
    ClientFirst,
    Hash,
    ScramKeys,
    ScramServer,
    derive,
    fake_keys,
    parse_client_first,
    saslprep,
)
from scram_peer import ScramPeer
from thorough import examples

# RFC 7677 §3
CLIENT_NONCE, SERVER_NONCE = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEYS = derive("pencil", SALT)


def asked() -> ScramServer:
    """A server that has sent its challenge."""
    server = ScramServer(SERVER_NONCE)
    assert server.first(CLIENT_FIRST) == ClientFirst(b"n,,", "n", "", "user", CLIENT_NONCE.encode(), CLIENT_FIRST[3:])
    assert server.challenge(KEYS) == SERVER_FIRST
    return server


def test_the_server_as_in_rfc_7677() -> None:
    """RFC 7677 §3."""
    assert asked().final(CLIENT_FINAL) == SERVER_FINAL


def test_the_server_as_in_rfc_5802() -> None:
    """RFC 5802 §5: SCRAM-SHA-1."""
    server = ScramServer("3rfcNHYJY1ZVvWVs7j", Hash.SHA1)
    assert server.first(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")
    keys = derive("pencil", b64decode("QSXCR+Q6sek8bf92"), Hash.SHA1)
    asked = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    assert server.challenge(keys) == asked
    final = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    assert server.final(final) == b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize(("seen", "proven"), [(b"of this connection", True), (b"of another", False)])
def test_plus_binds_to_the_connection(mechanism: str, seen: bytes, proven: bool) -> None:
    """With scramp as peer; who sits between sees another certificate (RFC 5802 §6)."""
    kind = Hash.SHA1 if "SHA-1-" in mechanism else Hash.SHA256
    peer = scramp.ScramClient([mechanism], "anna", "pencil", channel_binding=("tls-server-end-point", seen))
    bindings = {"tls-exporter": b"x", "tls-server-end-point": b"of this connection"}
    server = ScramServer(SERVER_NONCE, kind, bindings, plus=True)
    assert server.first(peer.get_client_first().encode())
    peer.set_server_first(server.challenge(derive("pencil", SALT, kind)).decode())
    final = server.final(peer.get_client_final().encode())
    assert (final is not None) is proven
    if final is not None:
        peer.set_server_final(final.decode())


@pytest.mark.parametrize(
    "final",
    [
        b"",
        CLIENT_FINAL.replace(b"biws", b"eSws"),  # another gs2-header than the first message had
        CLIENT_FINAL.replace(b"c=biws,", b""),
        CLIENT_FINAL.replace(b"r=r", b"r=s"),
        CLIENT_FINAL.replace(b"$k0", b"$k1"),
        CLIENT_FINAL.replace(b"VQ=", b"UQ="),
        CLIENT_FINAL.replace(b"p=d", b"p=e"),
        CLIENT_FINAL[:-8],
        CLIENT_FINAL + b"=",
        CLIENT_FINAL + b",x=y",
        CLIENT_FINAL + b"\n",
        CLIENT_FINAL.replace(b",p=", b"," + b"x=" + b"y" * 3000 + b",p="),
    ],
)
def test_what_proves_nothing(final: bytes) -> None:
    assert asked().final(final) is None


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,,",
        b"n=user,r=abc",
        b"p=,,n=user,r=abc",
        b"p=tls_unique,,n=user,r=abc",
        b"p=tls-unique,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"n,,m=x,n=user,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=us\0er,r=abc",
        b"n,,n=us\xffer,r=abc",
        b"n,a=,n=user,r=abc",
        b"n,,n=" + b"u" * 256 + b",r=abc",
        b"n,,n=user,r=" + b"a" * 2048,
        CLIENT_FIRST + b"\r\n",
    ],
)
def test_what_is_no_first_message(first: bytes) -> None:
    assert parse_client_first(first) is None


def test_names_with_comma_and_equals() -> None:
    first = parse_client_first(b"y,a=a=3Db,n=x=2Cy,r=abc,z=later")
    assert first is not None
    assert (first.authzid, first.authcid, first.header, first.flag) == ("a=b", "x,y", b"y,a=a=3Db,", "y")
    bound = parse_client_first(b"p=tls-exporter,,n=user,r=abc")
    assert bound is not None
    assert (bound.header, bound.flag) == (b"p=tls-exporter,,", "p=tls-exporter")


def test_wrong_order_is_our_bug() -> None:
    with pytest.raises(RuntimeError):
        ScramServer("x").challenge(KEYS)
    with pytest.raises(RuntimeError):
        ScramServer("x").final(CLIENT_FINAL)


@pytest.mark.parametrize("password", ["pencil", "correct horse", "pässwörd", "\u2168", "a\u00adb"])
def test_keys_are_those_that_scramp_derives(password: str) -> None:
    """With scramp as peer; Ⅸ and the soft hyphen are changed by SASLprep."""
    salt, stored, server, iterations = ScramMechanism("SCRAM-SHA-256").make_auth_info(
        password, iteration_count=ITERATIONS, salt=SALT
    )
    assert derive(password, SALT) == ScramKeys(salt, iterations, stored, server)


@pytest.mark.parametrize(("tried", "proven"), [("pencil", True), ("pencils", False)])
def test_scramp_logs_in(tried: str, proven: bool) -> None:
    """With scramp as peer."""
    peer = ScramPeer("user,=x", tried, CLIENT_NONCE)
    server = ScramServer(SERVER_NONCE)
    first = server.first(peer.first())
    assert first is not None
    assert first.authcid == "user,=x"
    final = server.final(peer.final(server.challenge(KEYS)))
    assert (final is not None) is proven
    assert final is None or peer.verify(final)


@pytest.mark.parametrize(("tried", "proved"), [("pencil", 0), ("second", 1), ("third", 2), ("fourth", None)])
def test_one_of_several_passwords_of_a_user_is_proved(tried: str, proved: int | None) -> None:
    """RFC 5802 §7: one salt in the server-first-message, so all passwords of a user have the same."""
    every = (KEYS, derive("second", SALT), derive("third", SALT))
    peer, server = ScramPeer("user", tried, CLIENT_NONCE), ScramServer(SERVER_NONCE)
    server.first(peer.first())
    final = server.final(peer.final(server.challenge(*every)))
    assert server.proved == (None if proved is None else every[proved])
    assert (final is None) == (proved is None)
    assert final is None or peer.verify(final)


@settings(max_examples=examples(20), deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_both_sides_agree(user: str, password: str) -> None:
    if saslprep(user) is None or not saslprep(password):
        return
    if any(map(stringprep.in_table_a1, f"{saslprep(user)}{saslprep(password)}")):
        return  # scramp refuses what Unicode 3.2 did not have; Posthouse keeps it (RFC 3454 §7)
    client, server = ScramPeer(user, password, "c"), ScramServer("s")
    first = server.first(client.first())
    if first is None:  # nothing was left of the name
        assert not saslprep(user)
        return
    final = client.final(server.challenge(derive(password, SALT)))
    answer = server.final(final)
    assert answer is not None
    assert client.verify(answer)


@given(st.binary(max_size=80))
def test_garbage_is_refused_quietly(octets: bytes) -> None:
    parse_client_first(octets)
    parse_client_first(b"n,,n=" + octets)
    assert asked().final(octets) is None


def test_unknown_users_have_the_same_salt_each_time() -> None:
    """RFC 5802 §5.1: nobody learns from the salt whether a user exists."""
    assert fake_keys("ghost", b"secret") == fake_keys("ghost", b"secret")
    assert fake_keys("ghost", b"secret").salt != fake_keys("spirit", b"secret").salt
    assert fake_keys("ghost", b"secret").salt != fake_keys("ghost", b"other").salt
    assert len(fake_keys("ghost", b"secret").salt) == len(SALT)
    assert fake_keys("ghost", b"secret").salt == fake_keys("ghost", b"secret", Hash.SHA1).salt  # as a real user's
    assert len(fake_keys("ghost", b"secret", Hash.SHA1).stored_key) == 20


def test_saslprep_as_in_rfc_4013() -> None:
    """RFC 4013 §3."""
    assert saslprep("I\u00adX") == "IX"
    assert saslprep("user") == "user"
    assert saslprep("USER") == "USER"
    assert saslprep("\u00aa") == "a"
    assert saslprep("\u2168") == "IX"
    assert saslprep("\u0007") is None
    assert saslprep("\u0627\u0031") is None
    assert saslprep("a\u00a0b") == "a b"
    assert saslprep("x\ud800") is None
    assert saslprep("🐎") == "🐎"
    assert saslprep("x" * 1025) is None


def test_a_forbidden_password_is_an_error() -> None:
    with pytest.raises(ValueError, match="RFC 4013"):
        derive("bell\u0007", SALT)
