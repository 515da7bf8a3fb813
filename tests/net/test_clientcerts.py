"""net/clientcerts.py: whom the certificate of a client is for (RFC 4422 Appendix A; limits.md, S26)."""

import ssl
import weakref
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from certificates import Authority, Wish, client_context, issue, make_authority, name, revoked, shake
from posthouse.net import openssl, tls
from posthouse.net.clientcerts import names_of_client
from posthouse.net.tls import CertificateError, CertificateFiles, Certificates, ClientCertificates, NamedBy


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture
def server(tmp_path: Path) -> CertificateFiles:
    return issue(make_authority("Servers"), tmp_path / "server", Wish(hosts=("mail.home.test",)))


def asking(server: CertificateFiles, folder: Path, pem: bytes, named_by: NamedBy = NamedBy.EMAIL) -> ssl.SSLContext:
    """A server that asks for certificates of the authorities in `pem`."""
    file = folder / "clients.pem"
    file.write_bytes(pem)
    return Certificates([server], ClientCertificates(file, named_by)).context


def names_shown(server: ssl.SSLContext, client: CertificateFiles | None, *, tls12: bool = False) -> tuple[str, ...]:
    """The names after a handshake, which must go well whatever the certificate is."""
    return names_of_client(shake(server, client_context(client, tls12=tls12))[1])


@pytest.mark.parametrize("tls12", [False, True])
def test_a_good_certificate_has_names(
    authority: Authority, server: CertificateFiles, tmp_path: Path, tls12: bool
) -> None:
    """RFC 5280 §4.2.1.6."""
    client = issue(authority, tmp_path / "anna", Wish(("anna@home.test", "a@home.test")))
    context = asking(server, tmp_path, authority.pem)
    assert names_shown(context, client, tls12=tls12) == ("anna@home.test", "a@home.test")
    assert names_shown(context, None, tls12=tls12) == ()


@pytest.mark.parametrize("tls12", [False, True])
@pytest.mark.parametrize(
    "wish",
    [
        Wish(("anna@home.test",), days=(-30, -1)),
        Wish(("anna@home.test",), days=(1, 30)),
        Wish(("anna@home.test",), usage=ExtendedKeyUsageOID.SERVER_AUTH),
        Wish(),
    ],
    ids=["expired", "not yet", "a server's", "without a name"],
)
def test_a_bad_certificate_is_as_none(
    authority: Authority, server: CertificateFiles, tmp_path: Path, wish: Wish, tls12: bool
) -> None:
    """The handshake goes on, so that the password of the user still opens the door."""
    client = issue(authority, tmp_path / "anna", wish)
    assert names_shown(asking(server, tmp_path, authority.pem), client, tls12=tls12) == ()


def test_a_strange_authority_is_as_none(authority: Authority, server: CertificateFiles, tmp_path: Path) -> None:
    """Also one that calls itself as ours does."""
    for title in ("Elsewhere", "Test clients"):
        client = issue(make_authority(title), tmp_path / title, Wish(("anna@home.test",)))
        assert names_shown(asking(server, tmp_path, authority.pem), client) == ()


def test_several_faults_at_once_are_no_virtue(authority: Authority, server: CertificateFiles, tmp_path: Path) -> None:
    """The callback that lets the handshake go on is asked for each of them, and the last word is still no."""
    wrong = Wish(("anna@home.test",), days=(-9, -1), usage=ExtendedKeyUsageOID.SERVER_AUTH)
    for name_, signer in (("ours", authority), ("strange", make_authority()), ("elsewhere", make_authority("Else"))):
        client = issue(signer, tmp_path / name_, wrong)
        for tls12 in (False, True):
            assert names_shown(asking(server, tmp_path, authority.pem), client, tls12=tls12) == ()


def test_the_connection_goes_on_after_a_bad_signature(
    authority: Authority, server: CertificateFiles, tmp_path: Path
) -> None:
    """What OpenSSL noted about the signature must not be found by the next read."""
    client = issue(make_authority(), tmp_path / "strange", Wish(("anna@home.test",)))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client_context(client).wrap_bio(to_client, to_server)
    ours = asking(server, tmp_path, authority.pem).wrap_bio(to_server, to_client, server_side=True)
    for side in (theirs, ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    with pytest.raises(ssl.SSLWantReadError):
        ours.read()
    for one, other in ((theirs, ours), (ours, theirs)):
        one.write(b"hello")
        assert other.read() == b"hello"


def test_a_revoked_certificate_is_as_none(authority: Authority, server: CertificateFiles, tmp_path: Path) -> None:
    """RFC 5280 §5: the list stands in the file of authorities."""
    anna = issue(authority, tmp_path / "anna", Wish(("anna@home.test",)))
    ben = issue(authority, tmp_path / "ben", Wish(("ben@home.test",)))
    context = asking(server, tmp_path, authority.pem + revoked(authority, anna.certificate))
    assert names_shown(context, anna) == ()
    assert names_shown(context, ben) == ("ben@home.test",)


def test_names_of_the_subject(authority: Authority, server: CertificateFiles, tmp_path: Path) -> None:
    context = asking(server, tmp_path, authority.pem, NamedBy.SUBJECT)
    both = issue(authority, tmp_path / "1", Wish(("x@home.test",), name(cn="Anna", email="anna@home.test")))
    assert names_shown(context, both) == ("anna@home.test",)
    assert names_shown(context, issue(authority, tmp_path / "2", Wish(subject=name(cn="ben")))) == ("ben",)
    nothing = issue(authority, tmp_path / "3", Wish(("x@home.test",), name()))
    assert names_shown(context, nothing) == ()


def test_nobody_is_asked_unless_that_is_set(authority: Authority, server: CertificateFiles, tmp_path: Path) -> None:
    """limits.md, S26."""
    client = issue(authority, tmp_path / "anna", Wish(("anna@home.test",)))
    session = shake(Certificates([server]).context, client_context(client))[1]
    assert session.getpeercert(binary_form=True) is None
    assert names_of_client(session) == ()
    assert names_of_client(None) == ()


def test_every_certificate_of_the_table_asks(authority: Authority, tmp_path: Path) -> None:
    """The context that Server Name Indication chooses has the authorities too (RFC 6066 §3)."""
    servers = make_authority("Servers")
    files = [issue(servers, tmp_path / host, Wish(hosts=(host,))) for host in ("a.test", "b.test")]
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    context = Certificates(files, ClientCertificates(tmp_path / "clients.pem")).context
    good = issue(authority, tmp_path / "anna", Wish(("anna@home.test",)))
    bad = issue(make_authority(), tmp_path / "eve", Wish(("anna@home.test",)))
    for host in ("a.test", "b.test"):
        assert names_of_client(shake(context, client_context(good), host)[1]) == ("anna@home.test",)
        assert names_of_client(shake(context, client_context(bad), host)[1]) == ()


def test_a_session_that_is_resumed_has_the_names_of_its_certificate(
    authority: Authority, server: CertificateFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8446 §2.2: the certificate is not shown again; a bad one does not become good, nor an old one young."""
    context = asking(server, tmp_path, authority.pem)
    for wish, names in ((Wish(("anna@home.test",)), ("anna@home.test",)), (Wish(("a@b.test",), days=(-9, -1)), ())):
        client = client_context(issue(authority, tmp_path / "client", wish), tls12=True)
        first = shake(context, client)[0]
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        theirs = client.wrap_bio(to_client, to_server, session=first.session)
        ours = context.wrap_bio(to_server, to_client, server_side=True)
        for side in (theirs, ours, theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        assert theirs.session_reused
        assert names_of_client(ours) == names
        monkeypatch.setattr("posthouse.net.clientcerts.time.time", lambda: 4_000_000_000.0)
        assert names_of_client(ours) == ()
        monkeypatch.undo()


def test_a_file_that_cannot_be_used_is_said(server: CertificateFiles, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(CertificateError, match="holds no certificates"):
        asking(server, tmp_path, b"nothing")
    with pytest.raises(CertificateError, match="No such file"):
        Certificates([server], ClientCertificates(tmp_path / "nowhere.pem"))
    monkeypatch.setattr(tls, "never_refuse_certificates", lambda context: False)
    with pytest.raises(CertificateError, match="this Python"):
        asking(server, tmp_path, make_authority().pem)


def test_what_cannot_be_read_is_as_none(authority: Authority, server: CertificateFiles, tmp_path: Path) -> None:
    """Anybody can show a certificate with an address that is no UTF-8 (RFC 5280 §4.2.1.6: IA5String)."""
    address = b"\xff\xfe@home.test"
    octets = bytes([0x30, len(address) + 2, 0x81, len(address)]) + address
    broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, octets)
    for title, signer in (("ours", authority), ("strange", make_authority("Elsewhere"))):
        client = issue(signer, tmp_path / title, Wish(extension=broken))
        for tls12 in (False, True):
            assert names_shown(asking(server, tmp_path, authority.pem), client, tls12=tls12) == ()


def test_openssl_is_not_asked_about_what_has_gone(
    authority: Authority, server: CertificateFiles, tmp_path: Path, monkeypatch
) -> None:
    """OpenSSL's SSL is freed with the Python object that has it."""
    seen: list[weakref.ref[ssl.SSLObject]] = []
    alive: list[bool] = []
    library = openssl._library()
    assert library is not None

    def pointer(session: ssl.SSLObject):
        seen.append(weakref.ref(session))
        return openssl_pointer(session)

    class Watched:
        def __getattr__(self, called: str):
            alive.append(seen[-1]() is not None)
            return getattr(library, called)

    openssl_pointer = openssl.pointer
    monkeypatch.setattr(openssl, "pointer", pointer)
    monkeypatch.setattr(openssl, "_library", Watched)
    asking(server, tmp_path, authority.pem)
    assert alive
    assert all(alive)
