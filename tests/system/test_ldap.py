"""Users of a real LDAP directory: OpenLDAP's slapd (RFC 4511, RFC 4513)."""

import contextlib
import imaplib
import poplib
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.mail.address import Address, Domain
from posthouse.net.directory import NoAnswer, Person
from posthouse.net.ldap import Ldap, LdapPlan
from system.running import PROGRAM, Running, make_certificate
from system.slapd import PEOPLE, SEARCHER, SECRET, Slapd, real_ldap

ANNA = Address("anna", Domain("home.test"))
PEOPLE_HERE = {
    "anna": ("anna@home.test", "annas word"),
    "ben": ("ben@home.test", "bens word"),
    "twin1": ("twin@home.test", "one"),
    "twin2": ("twin@home.test", "two"),
    "odd": ("o*d(d)\\\\x@home.test", "odd word"),
    "gruen": ("gr:n@home.test", "x"),
}


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with real_ldap(tmp_path_factory.mktemp("slapd"), PEOPLE_HERE) as running:
        yield running


def plan(slapd: Slapd, **more: object) -> LdapPlan:
    told = {
        "url": slapd.url,
        "base": PEOPLE,
        "bind_dn": SEARCHER,
        "bind_password": SECRET,
        "authorities": str(slapd.ca),
        "seconds": 5.0,
    }
    return LdapPlan(**(told | more))  # type: ignore[arg-type]


@pytest.fixture(params=["starttls", "ldaps", "user_dn"])
def ldap(request: pytest.FixtureRequest, slapd: Slapd) -> Ldap:
    """RFC 4513 §3: TLS before any password; and both ways to a name."""
    more: dict[str, object] = {"ldaps": {"url": slapd.tls_url}, "starttls": {}}.get(request.param, {})
    if request.param == "user_dn":
        more = {"user_dn": f"uid={{local}},{PEOPLE}", "base": ""}
    return Ldap(plan(slapd, **more))


def test_a_password_is_right_or_wrong(ldap: Ldap) -> None:
    assert ldap.find(ANNA) == Person(("anna@home.test",))
    assert ldap.prove(ANNA, "annas word") == Person(("anna@home.test",))
    for wrong in ("bens word", "annas word ", "", "\0", "annas word\0", "x" * 65_536, "\ud7ff", "\u0001"):
        try:
            assert ldap.prove(ANNA, wrong) is None, wrong[:20]
        except NoAnswer:  # a password that no directory takes is no yes either
            assert wrong not in ("bens word", "", "\0")
    nobody = Address("nobody", ANNA.domain)
    assert ldap.find(nobody) is None
    assert ldap.prove(nobody, "annas word") is None
    assert ldap.prove(nobody, "") is None


@pytest.mark.parametrize(
    "local", ["*", "a*", "anna)(uid=*", "*)(uid=*))(|(uid=*", "anna,ou=people", "anna\\2c", "an\0na", " ", "x" * 65_536]
)
def test_a_name_is_nothing_but_a_name(ldap: Ldap, local: str) -> None:
    """RFC 4515 §3, RFC 4514 §2.4."""
    name = Address(local, ANNA.domain)
    for password in ("annas word", ""):
        try:
            assert ldap.find(name) is None
            assert ldap.prove(name, password) is None
        except NoAnswer:  # slapd calls some of these no name at all
            assert local not in ("*", "a*", "anna)(uid=*")


def test_names_with_special_characters_are_found(slapd: Slapd) -> None:
    odd = Address("o*d(d)\\\\x", ANNA.domain)
    assert Ldap(plan(slapd, filter="(uid={local})")).find(ANNA) == Person(("anna@home.test",))
    found = Ldap(plan(slapd, filter="(mail={local}@{domain})")).find(odd)
    assert found == Person(("o*d(d)\\\\x@home.test",))


def test_two_users_of_one_address_are_none(slapd: Slapd) -> None:
    twin = Address("twin", ANNA.domain)
    with pytest.raises(NoAnswer, match="several users"):
        Ldap(plan(slapd)).find(twin)
    with pytest.raises(NoAnswer, match="several users"):
        Ldap(plan(slapd)).prove(twin, "one")


def test_tls_is_verified_before_a_password_goes_out(slapd: Slapd, tmp_path: Path) -> None:
    other, _ = make_certificate(tmp_path)
    for url in (slapd.url, slapd.tls_url):
        with pytest.raises(NoAnswer):
            Ldap(plan(slapd, url=url, authorities=str(other))).find(ANNA)
        with pytest.raises(NoAnswer):
            Ldap(plan(slapd, url=url, authorities="")).prove(ANNA, "annas word")
    with pytest.raises(NoAnswer):  # the certificate is for localhost and 127.0.0.1
        Ldap(plan(slapd, url=slapd.tls_url.replace("localhost", "localhost.localdomain"))).find(ANNA)


def test_a_search_that_is_not_let_in(slapd: Slapd) -> None:
    for wrong in ({"bind_password": "wrong"}, {"bind_dn": "cn=nobody,dc=home,dc=test"}, {"bind_dn": ""}):
        with pytest.raises(NoAnswer):
            Ldap(plan(slapd, **wrong)).find(ANNA)


def test_referrals_are_not_followed(slapd: Slapd) -> None:
    """RFC 4511 §4.1.10: nobody knows who is there."""
    with pytest.raises(NoAnswer, match="referral"):
        Ldap(plan(slapd, base="ou=elsewhere,dc=home,dc=test")).find(ANNA)
    assert Ldap(plan(slapd, base="dc=home,dc=test")).find(ANNA) == Person(("anna@home.test",))  # beside a reference


SECTION = """
[directory]
url = "{slapd.url}"
authorities = "{slapd.ca}"
base = "{people}"
bind_dn = "{searcher}"
bind_password_file = "secret"
remember_seconds = 0.2
seconds = 2
"""


def checked(server: Running) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "check", server.settings]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def rcpt(server: Running, address: str) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", server.ports.smtp) as stranger:
        stranger.ehlo("client.test")
        stranger.mail("eve@far.test")
        return stranger.rcpt(address)


def read(server: Running, name: str, password: str) -> int:
    """How many messages are in the INBOX of who logs in."""
    with imaplib.IMAP4_SSL("localhost", server.ports.imaps, ssl_context=server.trust()) as client:
        client.login(name, password)
        return int(client.select()[1][0] or b"0")


def test_the_server_knows_the_users_of_the_directory(fresh: Running, tmp_path: Path) -> None:
    """The whole life of a user who is in the directory, at the real program."""
    folder = tmp_path / "slapd"
    folder.mkdir()
    with real_ldap(folder, {"anna": ("anna@home.test", "annas word")}) as slapd:
        (fresh.folder / "secret").write_text(SECRET + "\n")
        fresh.stop()
        section = SECTION.format(slapd=slapd, people=PEOPLE, searcher=SEARCHER)
        fresh.settings.write_text(fresh.settings.read_text() + section)
        check = checked(fresh)
        assert check.returncode == 0, check.stderr
        fresh.start()
        fresh.command("user", "add", "local@home.test", "--password-stdin", text="local word\n")
        assert rcpt(fresh, "nobody@home.test")[:1] == (550,)
        with smtplib.SMTP("127.0.0.1", fresh.ports.smtp) as stranger:
            stranger.sendmail("eve@far.test", "anna+x@home.test", b"Subject: hello\r\n\r\nhello\r\n")
        assert read(fresh, "Anna@HOME.test", "annas word") == 1
        assert read(fresh, "local@home.test", "local word") == 0
        for name, word in (("anna@home.test", ""), ("anna@home.test", "wrong"), ('"*@home.test"', "annas word")):
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                read(fresh, name, word)
        slapd.add("carl", "carl@home.test", "carls word")
        assert read(fresh, "carl@home.test", "carls word") == 0
        slapd.remove("carl")
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            eventually_refused(fresh, "carl@home.test", "carls word")
        assert rcpt(fresh, "carl@home.test")[0] == 550
    assert rcpt(fresh, "dora@home.test")[1][:5] == b"4.4.3"
    assert rcpt(fresh, "anna@home.test")[0] == 250  # who has a mailbox here gets mail meanwhile
    assert read(fresh, "local@home.test", "local word") == 0
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        eventually_refused(fresh, "anna@home.test", "annas word")
    check = checked(fresh)
    assert check.returncode == 1
    assert "the directory does not answer" in check.stdout + check.stderr


def eventually_refused(server: Running, name: str, password: str) -> None:
    """What was proven a moment ago is remembered for a moment."""
    for _ in range(300):
        read(server, name, password)
        time.sleep(0.1)


def test_who_is_gone_becomes_a_user_of_this_server(fresh: Running, tmp_path: Path) -> None:
    """With the mail that came meanwhile, and while the server runs (decision 0113)."""
    folder = tmp_path / "slapd"
    folder.mkdir()
    fresh.stop()
    with real_ldap(folder, {"carl": ("carl@home.test", "carls word")}) as slapd:
        (fresh.folder / "secret").write_text(SECRET + "\n")
        section = SECTION.format(slapd=slapd, people=PEOPLE, searcher=SEARCHER)
        fresh.settings.write_text(fresh.settings.read_text() + section)
        fresh.start()
        assert read(fresh, "carl@home.test", "carls word") == 0
        with smtplib.SMTP("127.0.0.1", fresh.ports.smtp) as stranger:
            stranger.sendmail("eve@far.test", "carl@home.test", b"Subject: hello\r\n\r\nhello\r\n")
        assert "is that of carl@home.test" in fresh.command("user", "directory", "carl@home.test")
        with pytest.raises(AssertionError, match="the password is changed there"):
            fresh.command("user", "password", "carl@home.test", "--password-stdin", text="own word\n")
        slapd.add("carl2", "carl@home.test", "another word")
        with pytest.raises(AssertionError, match="several users"):
            fresh.command("user", "directory", "carl@home.test")
        slapd.remove("carl2")
        slapd.remove("carl")
        said = fresh.command("user", "password", "carl@home.test", "--password-stdin", text="own word\n")
        assert "is a user of this server now" in said
        assert read(fresh, "carl@home.test", "own word") == 1
        slapd.add("carl", "carl@home.test", "carls word")
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            eventually_refused(fresh, "carl@home.test", "carls word")
    assert rcpt(fresh, "carl@home.test")[0] == 250
    fresh.command("retention", "carl@home.test", "INBOX", "--days", "7")
    with contextlib.closing(poplib.POP3_SSL("localhost", fresh.ports.pop3s, context=fresh.trust())) as pop:
        assert pop.capa()["EXPIRE"] == ["7", "USER"]
        pop.user("carl@home.test")
        pop.pass_("own word")
        assert pop.capa()["EXPIRE"] == ["7"]
        assert pop.stat()[0] == 1
