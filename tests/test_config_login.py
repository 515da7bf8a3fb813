"""Settings of sign-in: providers of identities and certificates of clients; a sentence for each mistake."""

import ssl
import tomllib
from pathlib import Path

import pytest

from certificates import Wish, client_context, issue, make_authority, shake
from fakes import ZoneResolver
from posthouse import check
from posthouse.config import ConfigError, settle
from posthouse.config_sections import Settings
from posthouse.identity import make_tokens, server_contexts
from posthouse.net.clientcerts import names_of_client
from posthouse.net.tls import CertificateError
from posthouse.serve.oauth import NotNow
from posthouse.wire.oauth import Bearer
from provider import Signer

PROVIDER = '[[login.providers]]\nissuer = "https://id.home.test/realm"\naudience = ["posthouse"]\n'


def settled(text: str, folder: Path = Path("/settings")) -> Settings:
    return settle(tomllib.loads(text), folder)


def test_a_provider() -> None:
    [one] = settled(PROVIDER + 'authorities = "ca.pem"\nprivate_networks = ["10.0.0.0/8"]').login.providers
    assert (one.issuer, one.audience, one.user_claim) == ("https://id.home.test/realm", ("posthouse",), "email")
    assert one.authorities == "/settings/ca.pem"
    assert settled("").login.providers == ()


def test_certificates() -> None:
    text = '[[login.certificates]]\nauthorities = "clients.pem"\nservices = ["imaps"]\nuser = "subject"'
    [one] = settled(text).login.certificates
    assert (one.authorities, one.services, one.user) == ("/settings/clients.pem", ("imaps",), "subject")
    [every] = settled('[[login.certificates]]\nauthorities = "clients.pem"').login.certificates
    assert set(every.services) == {"submission", "submissions", "imap", "imaps", "pop3", "pop3s"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[login.providers]]\naudience = ["x"]', "issuer: missing"),
        ('[[login.providers]]\nissuer = "https://id.home.test"', "audience: missing"),
        (PROVIDER.replace('["posthouse"]', "[]"), "audience: missing; without it"),
        (PROVIDER.replace('["posthouse"]', '[""]'), "audience: missing; without it"),
        (PROVIDER.replace("https:", "http:"), "expected the https address"),
        (PROVIDER.replace("realm", "realm?x=1"), "expected the https address"),
        (PROVIDER + PROVIDER, "is there twice"),
        (PROVIDER + 'keys = "file:///x"', "keys: expected an https address"),
        (PROVIDER + 'user_domain = "no domain"', "user_domain: 'no domain' is no domain"),
        (PROVIDER + 'user_claim = ""', "user_claim"),
        (PROVIDER + 'private_networks = ["home"]', "private_networks: 'home' does not appear"),
        ("\n".join(PROVIDER.replace("realm", f"r{n}") for n in range(21)), "20 are the most"),
        ('[login]\nwithheld = ["SCRAM"]', "SCRAM is no mechanism that is offered here"),
        ("[[login.certificates]]", "authorities: missing"),
        ('[[login.certificates]]\nauthorities = ""', "authorities"),
        ('[[login.certificates]]\nauthorities = "x"\nservices = ["smtp"]', "expected one of submission"),
        ('[[login.certificates]]\nauthorities = "x"\n[[login.certificates]]\nauthorities = "y"', "is named twice"),
    ],
)
def test_a_sentence_for_each_mistake(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match="login") as caught:
        settled(text)
    assert any(problem in one for one in caught.value.problems), caught.value.problems


def test_check_tells_of_files_that_are_not_there(tmp_path: Path) -> None:
    text = PROVIDER + 'authorities = "no.pem"\n[[login.certificates]]\nauthorities = "none.pem"'
    found = "\n".join(check.problems(settled(f'data = "{tmp_path}/data"\n{text}', tmp_path)))
    assert f"login.providers[0].authorities: {tmp_path}/no.pem: No such file" in found
    assert f"login.certificates[0].authorities: {tmp_path}/none.pem: No such file" in found
    with pytest.raises(CertificateError):
        server_contexts(with_certificate(text, tmp_path))


def with_certificate(text: str, folder: Path) -> Settings:
    files = issue(make_authority("Servers"), folder / "server", Wish(hosts=("mail.home.test",)))
    pair = f'certificate = "{files.certificate}", key = "{files.key}"'
    return settled(f"tls.certificates = [{{ {pair} }}]\n{text}", folder)


def test_each_service_asks_as_it_is_told(tmp_path: Path) -> None:
    """Ports for other servers ask nobody (limits.md, S26)."""
    clients = make_authority()
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    anna = issue(clients, tmp_path / "anna", Wish(("anna@home.test",)))
    text = '[[login.certificates]]\nauthorities = "clients.pem"\nservices = ["imaps", "pop3"]'
    contexts = server_contexts(with_certificate(text, tmp_path))
    assert set(contexts) == {"", "imaps", "pop3"}
    assert contexts["imaps"].verify_mode is ssl.CERT_OPTIONAL
    assert contexts[""].verify_mode is ssl.CERT_NONE
    assert names_of_client(shake(contexts["imaps"], client_context(anna))[1]) == ("anna@home.test",)
    assert names_of_client(shake(contexts[""], client_context(anna))[1]) == ()


async def test_tokens_of_the_settings(tmp_path: Path) -> None:
    """A host with a private address only where that is allowed."""
    (tmp_path / "ca.pem").write_bytes(make_authority().pem)
    resolver = ZoneResolver("id.home.test. A 10.0.0.1")
    tokens = make_tokens(settled(PROVIDER + 'authorities = "ca.pem"', tmp_path), resolver)
    claims = {"iss": "https://id.home.test/realm", "aud": "posthouse", "exp": 4_000_000_000, "email": "a@home.test"}
    with pytest.raises(NotNow):
        await tokens.user_of(Bearer("", Signer("ES256", "one").sign(claims)))
    with pytest.raises(OSError, match="No such file"):
        make_tokens(settled(PROVIDER + 'authorities = "no.pem"', tmp_path), resolver)
