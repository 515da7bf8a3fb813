"""`posthouse doctor`: each thing that can be wrong, what is said of it, and what is to be done."""

import json
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import ZoneResolver
from posthouse.cli import main
from posthouse.config import settle
from posthouse.doctor import Finding, Health, Patient, examine, healthy, patient, printed
from posthouse.mail.ids import Millis
from posthouse.net.authority import authority, issue
from posthouse.net.dkimkeys import make_pair, record
from posthouse.net.tls import load
from posthouse.store.domainkeys import DomainKey
from posthouse.store.moment import wall_clock
from posthouse.transport.relays import Relay
from posthouse.transport.target import RelayLogin, TlsLevel
from posthouse.trust.dkim import Algorithm
from posthouse.trust.resolver import Found
from sink import sink

SETTINGS = settle(
    {
        "hostname": "mail.example.test",
        "smtp": {"listen": ["5.5.0.1:25"]},
        "sending": {"probes": ["big.test"]},
    }
)
PAIR = make_pair(Algorithm.ED25519)
KEY = DomainKey("example.test", "s", Algorithm.ED25519.value, *PAIR, Millis(1), Millis(2))
RECORD = record(Algorithm.ED25519, PAIR.public)
ZONE = """
signed.test. MX 10 mx.signed.test.
big.test. A 5.5.9.1
mail.example.test. A 5.5.0.1
1.0.5.5.in-addr.arpa. PTR mail.example.test.
example.test. MX 10 mail.example.test.
"""


async def greets(ip: str, port: int) -> str:
    return ""


async def silence(ip: str, port: int) -> str:
    return "does not answer within 5 seconds"


def somebody(zone: str = ZONE, *domains: str, **resolver: object) -> Patient:
    made = ZoneResolver(zone, secure=["signed.test"], **resolver)  # type: ignore[arg-type]
    return Patient(SETTINGS, domains or ("example.test",), made, greets, "signed.test")


async def found(who: Patient, check: str) -> Finding:
    """What is said of one check."""
    [finding] = [one for one in await examine(who) if one.check == check]
    assert finding.found.endswith(".")
    return finding


async def test_all_is_well() -> None:
    who = replace(somebody(f'{ZONE}s._domainkey.example.test. TXT "{RECORD}"'), keys=(KEY,))
    findings = await examine(who)
    assert [one.check for one in findings] == ["dns", "dnssec", "port25", "hostname", "ptr", "mx", "dkim"]
    assert {one.health for one in findings} == {Health.GOOD}
    assert healthy(findings)
    assert "ok" in printed(findings, as_json=False)
    assert json.loads(printed(findings, as_json=True))[0] == {
        "check": "dns",
        "health": "good",
        "found": "The DNS answers.",
        "todo": "",
    }


async def test_a_dns_that_fails_is_all_that_is_said() -> None:
    findings = await examine(somebody(failing={"signed.test": Found.TIMEOUT}))
    assert [(one.check, one.health) for one in findings] == [("dns", Health.BAD)]
    assert "no answer in time" in findings[0].found
    assert "/etc/resolv.conf" in findings[0].todo
    assert not healthy(findings)
    assert "->" in printed(findings, as_json=False)


async def test_a_dns_of_another_world() -> None:
    [finding] = await examine(replace(somebody(), signed="elsewhere.test"))
    assert (finding.health, "not the DNS of the Internet" in finding.found) == (Health.BAD, True)


async def test_a_dns_that_does_not_validate() -> None:
    who = replace(somebody(), resolver=ZoneResolver(ZONE))
    finding = await found(who, "dnssec")
    assert finding.health is Health.WARNING
    assert "apt-get install unbound" in finding.todo


async def test_port_25_is_closed() -> None:
    who = replace(somebody(), ask=silence)
    finding = await found(who, "port25")
    assert finding.health is Health.BAD
    assert "big.test does not answer" in finding.found
    assert "[relay]" in finding.todo
    relayed = settle(
        {"hostname": "mail.example.test", "relay": {"host": "smart.test"}, "sending": {"probes": ["big.test"]}}
    )
    finding = await found(replace(who, settings=relayed), "port25")
    assert finding.health is Health.WARNING
    assert "smart.test" in finding.found
    finding = await found(somebody(failing={"big.test": Found.SERVFAIL}), "port25")
    assert finding.health is Health.UNKNOWN


async def test_the_host_name() -> None:
    who = somebody(ZONE.replace("mail.example.test. A 5.5.0.1", ""))
    finding = await found(who, "hostname")
    assert finding.health is Health.BAD
    assert finding.todo == "Add to the DNS:  mail.example.test. A 5.5.0.1"
    finding = await found(somebody(ZONE.replace("A 5.5.0.1", "A 10.0.0.1")), "hostname")
    assert finding.health is Health.WARNING
    assert "10.0.0.1" in finding.found
    nameless = replace(somebody(), settings=settle({"hostname": "localhost", "sending": {"probes": ["big.test"]}}))
    finding = await found(nameless, "hostname")
    assert finding.health is Health.BAD
    assert "hostname" in finding.todo


async def test_the_reverse_name() -> None:
    other = await found(somebody(ZONE.replace("PTR mail.example.test.", "PTR host1.provider.test.")), "ptr")
    assert other.health is Health.WARNING
    assert "host1.provider.test" in other.found
    missing = await found(somebody(ZONE.replace("1.0.5.5.in-addr.arpa. PTR mail.example.test.", "")), "ptr")
    assert "is missing" in missing.found
    assert "5.5.0.1" in missing.todo
    failed = await found(somebody(failing={"1.0.5.5.in-addr.arpa": Found.TIMEOUT}), "ptr")
    assert failed.health is Health.UNKNOWN


MX = "example.test. MX 10 mail.example.test."


@pytest.mark.parametrize(
    ("records", "health", "words"),
    [
        ("example.test. MX 10 other.test.\nother.test. A 5.5.0.1", Health.GOOD, "comes to this server"),
        ("example.test. A 5.5.0.1", Health.GOOD, "comes to this server"),
        ("example.test. MX 10 big.test.", Health.BAD, "but to big.test"),
        ("example.test. MX 10 big.test.\nexample.test. MX 20 mail.example.test.", Health.WARNING, "first"),
        ("example.test. MX 0 .", Health.BAD, "nobody"),
        ("example.test. A 5.5.9.9", Health.BAD, "no MX record"),
    ],
)
async def test_where_mail_for_a_domain_goes(records: str, health: Health, words: str) -> None:
    finding = await found(somebody(ZONE.replace(MX, records)), "mx")
    assert finding.health is health
    assert words in finding.found
    assert (health is not Health.BAD) or "example.test. MX 10 mail.example.test." in finding.todo


async def test_domains() -> None:
    assert (await found(somebody(ZONE, "gone.test"), "mx")).health is Health.BAD
    assert (await found(somebody(failing={"example.test": Found.SERVFAIL}), "mx")).health is Health.UNKNOWN
    nobody = replace(somebody(), domains=())
    assert (await found(nobody, "mx")).health is Health.UNKNOWN


# --- smart hosts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smart")
    issue(authority(folder, "Root"), folder, ["smart.test"])
    return folder


@pytest.fixture(scope="module")
def context(folder: Path) -> ssl.SSLContext:
    return load(issue(authority(folder, "Root"), folder, ["smart.test"]))


async def smart(relay: Relay, folder: Path, zone: str = "smart.test. A 127.0.0.1\nwrong.test. A 127.0.0.1") -> Finding:
    settings = settle(
        {
            "hostname": "mail.example.test",
            "smtp": {"listen": ["5.5.0.1:25"]},
            "sending": {"probes": ["big.test"], "authorities": str(folder / "ca.pem")},
        }
    )
    who = replace(somebody(ZONE + zone), settings=settings, relays=(relay,))
    return await found(who, "relay")


LOGIN = RelayLogin("house", "secret")
OFFERED = ("PIPELINING", "AUTH PLAIN")


async def test_a_smart_host_that_works(folder: Path, context: ssl.SSLContext) -> None:
    async with sink(tls=context, offers=OFFERED) as server:
        finding = await smart(Relay("smart.test", server.port, LOGIN), folder)
        assert (finding.health, "lets us log in" in finding.found) == (Health.GOOD, True)
        finding = await smart(Relay("smart.test", server.port), folder)
        assert "asks for no login" in finding.found
        finding = await smart(Relay("wrong.test", server.port), folder)
        assert finding.health is Health.BAD
        assert "wrong.test" in finding.found
        assert "certificate" in finding.todo


async def test_a_smart_host_that_does_not(folder: Path, context: ssl.SSLContext) -> None:
    async with sink({"auth": "535 5.7.8 no such user"}, tls=context, offers=OFFERED) as server:
        finding = await smart(Relay("smart.test", server.port, LOGIN), folder)
        assert finding.health is Health.BAD
        assert "535 no such user" in finding.found
        assert "user and password" in finding.todo
    gone = await smart(Relay("smart.test", server.port, LOGIN), folder)
    assert "cannot be reached" in gone.found
    assert "587" in gone.todo
    lost = await smart(Relay("lost.test", 587, LOGIN, TlsLevel.ENCRYPTED), folder)
    assert "no address" in lost.found


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a DNS that does not answer: a port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    file = tmp_path / "posthouse.toml"
    file.write_text(f'data = "data"\n[dns]\nservers = ["127.0.0.1:{port}"]\n[limits.dns]\ntry_seconds = 0.2\n')
    with pytest.raises(SystemExit):
        main(["domain", "add", "example.test", "--config", str(file)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--config", str(file), "--json"])
    assert ended.value.code == 1
    [finding] = json.loads(capsys.readouterr().out)
    assert (finding["check"], finding["health"]) == ("dns", "bad")


def test_every_smart_host_is_looked_at() -> None:
    route = {"domains": ["a.test"], "host": "inner.test"}
    settings = settle({"relay": {"host": "smart.test", "routes": [route, route, {"domains": ["b.test"]}]}})
    assert [relay.host for relay in patient(settings, ["x.test"]).relays] == ["smart.test", "inner.test"]


async def test_the_directory_of_users(tmp_path: Path) -> None:
    """Where there is one: whether it answers, and what it means when it does not."""
    query = "SELECT :address, 'x' WHERE false"
    users = tmp_path / "users.db"
    section = {"url": f"sqlite:{users}", "query": query}
    who = replace(somebody(), settings=settle({"hostname": "mail.example.test", "directory": section}))
    bad = await found(who, "directory")
    assert bad.health is Health.BAD
    assert "users.db cannot be asked" in bad.found
    assert "cannot log in" in bad.todo
    lost = replace(who, resolver=ZoneResolver("", failing={"signed.test": Found.TIMEOUT}))
    assert [one.health for one in await examine(lost)] == [Health.BAD, Health.BAD]  # also without a DNS
    users.write_bytes(b"")  # an empty database
    assert (await found(who, "directory")).health is Health.GOOD


# --- keys of DKIM


async def told_of(keys: list[DomainKey], text: str = "", **resolver: object) -> list[Finding]:
    who = replace(somebody(ZONE + text, **resolver), keys=tuple(keys))
    return [one for one in await examine(who) if one.check == "dkim"]


async def test_a_domain_without_keys() -> None:
    [finding] = await told_of([])
    assert finding.health is Health.WARNING
    assert finding.todo == "posthouse domain dkim add example.test"


@pytest.mark.parametrize(
    ("texts", "words", "advice"),
    [
        ([], "is not there", "Publish it"),
        ([r'"\"RECORD\""'], "quotation marks", "without quotation marks"),
        (['"CUT"'], "its end is missing", "whole value"),
        (['"v=DKIM1; p=AQAB"'], "another key", "in its place"),
        (['"RECORD"', '"x"'], "others", "Remove the others"),
    ],
)
async def test_what_is_wrong_with_a_record(texts: list[str], words: str, advice: str) -> None:
    """RFC 6376 §3.6.2.2."""
    lines = (f"s._domainkey.example.test. TXT {text}" for text in texts)
    zone = "\n".join(lines).replace("RECORD", RECORD).replace("CUT", RECORD[:50])
    for key, health in ((KEY, Health.BAD), (KEY._replace(seen=None), Health.WARNING)):
        [finding] = await told_of([key], zone)
        assert finding.health is health
        assert words in finding.found
        assert advice in finding.todo
        assert finding.todo.endswith("posthouse domain dkim show example.test")


async def test_records_that_are_right() -> None:
    good = f's._domainkey.example.test. TXT "{RECORD}"'
    [signs] = await told_of([KEY], good)
    assert (signs.health, signs.todo) == (Health.GOOD, "")
    assert "is signed by the key s" in signs.found
    [waits] = await told_of([KEY._replace(seen=None)], good)
    assert (waits.health, waits.todo) == (Health.GOOD, "")
    [silent] = await told_of([KEY], failing={"s._domainkey.example.test": Found.TIMEOUT})
    assert silent.health is Health.UNKNOWN
    newer = KEY._replace(selector="t", made=Millis(3), seen=Millis(4))
    over, missing = await told_of([KEY, newer], good)
    assert over.todo.endswith("posthouse domain dkim remove example.test s")
    assert "t._domainkey.example.test, is not there" in missing.found


async def test_a_key_that_was_replaced_a_moment_ago_is_no_matter() -> None:
    newer = KEY._replace(selector="t", made=Millis(3), seen=wall_clock())
    [finding] = await told_of([KEY, newer], f't._domainkey.example.test. TXT "{RECORD}"')
    assert "by the key t" in finding.found
