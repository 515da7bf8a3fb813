"""SASL mechanisms by real programs: gsasl, msmtp, mpop, mbsync, mutt and curl, with a provider of identities beside."""

import functools
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from certificates import Wish, issue, make_authority
from posthouse.net.authority import authority
from posthouse.net.authority import issue as issue_for_server
from provider import Signer, claims
from system.conftest import lifetime
from system.running import Person, Running
from system.test_in import letter, on_terminal, run

WRITTEN = 60.0  # seconds until it is in the trail who came in
HOST = "id.home.test"
SIGNER = Signer("ES256", "one")


class Pages(BaseHTTPRequestHandler):
    """Discovery document and keys."""

    issuer = ""

    def do_GET(self) -> None:
        found = {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"},
            "/keys": {"keys": [SIGNER.public()]},
        }
        content = json.dumps(found[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def answer_dns(sock: socket.socket) -> None:
    """Every name is here."""
    while True:
        try:
            octets, peer = sock.recvfrom(4096)
        except OSError:
            return
        response = dns.message.make_response(dns.message.from_wire(octets), recursion_available=True)
        [question] = response.question
        if question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "127.0.0.1"))
        sock.sendto(response.to_wire(), peer)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A provider on loopback: its name, and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("provider")
    ca = authority(folder, "Test CA")
    files = issue_for_server(ca, folder, (HOST,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Pages.issuer = f"https://{HOST}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Pages.issuer, ca.certificate
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, issuer: tuple[str, Path]) -> Iterator[Running]:
    """Asks for certificates, and believes the provider."""
    running = Running(tmp_path_factory.mktemp("house"))
    clients = make_authority()
    (running.folder / "clients.pem").write_bytes(clients.pem)
    for name, signer, days in (("good", clients, (-1, 9)), ("old", clients, (-9, -1)), ("strange", None, (-1, 9))):
        issue(signer or make_authority(), running.folder / name, Wish(("cert@home.test",), days=days))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind(("127.0.0.1", 0))
        threading.Thread(target=answer_dns, args=(names,), daemon=True).start()
        with running.settings.open("a") as file:
            file.write(
                f'\n[dns]\nservers = ["127.0.0.1:{names.getsockname()[1]}"]\n'
                f'[[login.certificates]]\nauthorities = "clients.pem"\nservices = ["imaps", "submission", "pop3s"]\n'
                f'[[login.providers]]\nissuer = "{issuer[0]}"\naudience = ["posthouse"]\nscope = "mail"\n'
                f'authorities = "{issuer[1]}"\nprivate_networks = ["127.0.0.1"]\n'
            )
        yield from lifetime(running)


@pytest.fixture
def person(house: Running) -> Person:
    return house.person()


def came_in(house: Running, person: Person, by: str = "") -> None:
    """By this mechanism, if one is named, and no other, as the trail has it."""
    time.sleep(3.5)  # until it is written
    deadline = time.monotonic() + WRITTEN
    while True:
        rows = json.loads(house.command("user", "logins", person.address, "--json"))
        if found := {row["mechanism"] for row in rows if row["result"] == "came in"}:
            assert not by or found == {by}
            return
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)


def gsasl(house: Running, mechanism: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    port = house.ports.imap
    return run("gsasl", "--imap", f"--connect=localhost:{port}", "--hostname=localhost", f"--x509-ca-file={house.ca}",
               "--mechanism", mechanism, "--verbose", *more)  # fmt: skip


@pytest.mark.parametrize("priority", ["NORMAL", "NORMAL:-VERS-TLS1.3"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
def test_gsasl_binds_to_the_connection(house: Running, person: Person, mechanism: str, priority: str) -> None:
    """RFC 9266 (tls-exporter), and RFC 5929 §3 (tls-unique) under TLS 1.2: GnuTLS and OpenSSL find the same octets."""
    login = ("-a", person.address, "-p", person.password, f"--priority={priority}")
    done = gsasl(house, mechanism, *login)
    assert b"server trusted" in done.stdout + done.stderr, done.stderr.decode()
    wrong = gsasl(house, mechanism, *(*login, "-p", "wrong")[0:2], "-p", "wrong", login[-1])
    assert b"AUTHENTICATIONFAILED" in wrong.stdout + wrong.stderr


def write_msmtp_and_mpop(
    house: Running, person: Person, folder: Path, mechanism: str, secret: str
) -> tuple[Path, Path]:
    """Their settings."""
    (folder / "secret").write_text(secret)
    common = f"tls on\ntls_trust_file {house.ca}\nauth {mechanism}\nuser {person.address}\nhost localhost\n"
    common += f"passwordeval cat {folder}/secret\n"
    msmtp, mpop = folder / "msmtprc", folder / "mpoprc"
    msmtp.write_text(f"account default\nfrom {person.address}\nport {house.ports.submission}\n{common}")
    mpop.write_text(
        f"account default\nport {house.ports.pop3s}\ntls_starttls off\n{common}keep on\n"
        f"delivery mbox {folder}/mbox\nuidls_file {folder}/uidls\n"
    )
    for file in (msmtp, mpop):
        file.chmod(0o600)
    return msmtp, mpop


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_msmtp_mpop_and_mbsync(house: Running, person: Person, tmp_path: Path, mechanism: str) -> None:
    """GNU SASL and Cyrus SASL."""
    mbsync = tmp_path / "mbsyncrc"
    msmtp, mpop = write_msmtp_and_mpop(house, person, tmp_path, mechanism.lower(), person.password)
    mbsync.write_text(
        f"IMAPStore far\nHost localhost\nPort {house.ports.imaps}\nUser {person.address}\nPass {person.password}\n"
        f"SSLType IMAPS\nCertificateFile {house.ca}\nAuthMechs {mechanism}\n\nMaildirStore near\nPath {tmp_path}/md/\n"
        f"Inbox {tmp_path}/md/INBOX\n\nChannel all\nFar :far:\nNear :near:\nSyncState *\n"
    )
    (tmp_path / "md").mkdir()
    mbsync.chmod(0o600)
    message = bytes(letter(person.address, person.address, mechanism))
    programs = (("msmtp", "--file", msmtp, person.address), ("mpop", "--file", mpop), ("mbsync", "-c", mbsync, "all"))
    for command in programs:
        done = run(*command, text=message)
        assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "mbox").stat().st_size > len(message)
    assert len(list((tmp_path / "md/INBOX/new").iterdir())) == 1
    came_in(house, person, mechanism)


def curl(house: Running, url: str, *more: object) -> subprocess.CompletedProcess[bytes]:
    return run("curl", "--silent", "--show-error", "--verbose", "--cacert", house.ca, "--url", url, *more)


@pytest.mark.parametrize("kind", ["good", "old", "strange"])
def test_curl_by_certificate(house: Running, tmp_path: Path, kind: str) -> None:
    """RFC 4422 Appendix A. A bad certificate does not keep a password out."""
    anna = certified(house)
    shown = ("--cert", house.folder / kind / "leaf.pem", "--key", house.folder / kind / "leaf.key")
    external = ("--user", f"{anna.address}:", "--login-options", "AUTH=EXTERNAL")
    file = tmp_path / "letter.eml"
    file.write_bytes(letter(anna.address, anna.address, "EXTERNAL").as_bytes().replace(b"\n", b"\r\n"))
    ways = (
        (f"imaps://localhost:{house.ports.imaps}/", ()),
        (f"pop3s://localhost:{house.ports.pop3s}/", ()),
        (f"smtp://localhost:{house.ports.submission}/client.test",
         ("--ssl-reqd", "--mail-from", anna.address, "--mail-rcpt", anna.address, "--upload-file", file)),
    )  # fmt: skip
    for url, more in ways:
        done = curl(house, url, *shown, *external, *more)
        assert (done.returncode == 0) is (kind == "good"), done.stderr.decode()
        assert (b"EXTERNAL" in re.sub(rb"\n[*>].*", b"", done.stderr)) is (kind == "good")
        done = curl(house, url, *shown, "--user", f"{anna.address}:{anna.password}", *more)
        assert done.returncode == 0, done.stderr.decode()


def certified(house: Running) -> Person:
    """The user of the certificates."""
    if not hasattr(house, "certified"):
        made = house.person()
        anna = Person(house, "cert@home.test", made.password)
        house.command("user", "add", anna.address, "--password-stdin", text=anna.password)
        house.certified = anna  # type: ignore[attr-defined]
    found: Person = house.certified  # type: ignore[attr-defined]
    return found


def test_curl_by_token(house: Running, person: Person, tmp_path: Path, issuer: tuple[str, Path]) -> None:
    """RFC 7628, over all three protocols; then a token that has expired."""
    token = functools.partial(claims, iss=issuer[0], scope="mail", email=person.address)
    file = tmp_path / "letter.eml"
    file.write_bytes(letter(person.address, person.address, "by token").as_bytes().replace(b"\n", b"\r\n"))
    ways = (
        (f"imaps://localhost:{house.ports.imaps}/", ()),
        (f"pop3s://localhost:{house.ports.pop3s}/", ()),
        (f"smtps://localhost:{house.ports.submissions}/client.test",
         ("--mail-from", person.address, "--mail-rcpt", person.address, "--upload-file", file)),
    )  # fmt: skip
    login = ("--user", f"{person.address}:", "--oauth2-bearer")
    for url, more in ways:
        done = curl(house, url, *login, SIGNER.sign(token(time.time())), *more)
        assert done.returncode == 0, done.stderr.decode()
    for url, more in ways:
        done = curl(house, url, *login, SIGNER.sign(token(time.time() - 1_000)), *more)
        assert done.returncode == 67, done.stderr.decode()  # login denied
    came_in(house, person, "OAUTHBEARER")


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2"])
def test_msmtp_and_mpop_by_token(
    house: Running, person: Person, tmp_path: Path, issuer: tuple[str, Path], mechanism: str
) -> None:
    """RFC 7628, and what Google and Microsoft had before it."""
    token = SIGNER.sign(claims(time.time(), iss=issuer[0], scope="mail", email=person.address))
    msmtp, mpop = write_msmtp_and_mpop(house, person, tmp_path, mechanism, token)
    for command in (("msmtp", "--file", msmtp, person.address), ("mpop", "--file", mpop)):
        done = run(*command, text=bytes(letter(person.address, person.address, mechanism)))
        assert done.returncode == 0, done.stderr.decode()
    came_in(house, person, mechanism.upper())


def test_mutt_chooses_by_itself(house: Running, person: Person, tmp_path: Path) -> None:
    """Debian's mutt tries -PLUS, for which it has no binding, and then another mechanism."""
    muttrc = tmp_path / "muttrc"
    muttrc.write_text(
        f'set imap_user="{person.address}"\nset imap_pass="{person.password}"\n'
        f'set ssl_ca_certificates_file="{house.ca}"\nset certificate_file="{house.ca}"\n'
        f'set folder="imaps://localhost:{house.ports.imaps}/"\nset spoolfile="+INBOX"\n'
    )
    on_terminal("mutt", "-n", "-F", muttrc, "-e", "push <quit>")
    came_in(house, person)
