"""`posthouse domain dkim`: keys made, shown, looked for, replaced and removed."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import dns.zone
import pytest

from fakes import ZoneResolver
from posthouse import domainkeys as commands
from posthouse.cli import main
from posthouse.mail.ids import Millis
from posthouse.store import domainkeys
from posthouse.store.domainkeys import KEPT, KEYS, DomainKey
from posthouse.store.script import Exists
from posthouse.store.store import open_sync
from posthouse.trust.tags import KeyRecord, Published, published, read_key

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> ZoneResolver:
    """The DNS that the commands ask."""
    resolver = ZoneResolver("nothing.test. A 5.5.5.5")
    monkeypatch.setattr(commands, "make_resolver", lambda settings: resolver)
    return resolver


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], zone: ZoneResolver) -> Run:
    settings = tmp_path / "posthouse.toml"
    settings.write_text(f'hostname = "mail.home.test"\ndata = "{tmp_path / "data"}"\n')

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--config", str(settings)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    run("domain", "add", "home.test")
    return run


def keys(run: Run, *words: str) -> list[dict[str, str]]:
    status, said = run("domain", "dkim", "show", *words, "--json")
    assert status == 0, said
    found: list[dict[str, str]] = json.loads(said)
    return found


def test_keys_are_made_and_shown(run: Run) -> None:
    status, said = run("domain", "dkim", "add", "home.test")
    assert (status, said.count("does not sign yet")) == (0, 2)
    made = keys(run, "home.test")
    assert [key["algorithm"] for key in made] == ["ed25519-sha256", "rsa-sha256"]
    for key in made:
        assert re.fullmatch(r"20\d{6}[er]", key["selector"])
        assert key["name"] == f"{key['selector']}._domainkey.home.test"
        assert isinstance(read_key(key["value"].encode()), KeyRecord)
        assert f"  value:  {key['value']}\n" in said
        assert f"\n{key['zone']}\n" in said
    assert "PRIVATE" not in said


def test_what_is_shown_can_be_pasted_into_a_zone(run: Run) -> None:
    run("domain", "dkim", "add", "home.test")
    made = keys(run)
    text = "$TTL 60\n" + "\n".join(key["zone"] for key in made)
    pasted = dns.zone.from_text(text, ".", relativize=False, check_origin=False)
    for key in made:
        [record] = pasted.find_rdataset(key["name"] + ".", "TXT")
        assert all(len(string) <= 255 for string in record.strings)
        assert published([b"".join(record.strings)], key["value"].encode()) is Published.GOOD


def test_keys_sign_when_they_are_seen_and_are_replaced(run: Run, zone: ZoneResolver, tmp_path: Path) -> None:
    run("domain", "dkim", "add", "home.test")
    first = keys(run)
    status, said = run("domain", "dkim", "check", "home.test")
    assert (status, said.count("and it is not there")) == (0, 2)
    zone.replace("\n".join(key["zone"] for key in first))
    status, said = run("domain", "dkim", "check")
    assert (status, said.count(" signs.")) == (0, 2)
    status, said = run("domain", "dkim", "rotate", "home.test")
    assert (status, said.count(" signs."), said.count("does not sign yet")) == (0, 2, 2)
    status, said = run("domain", "dkim", "rotate", "home.test")
    assert (status, "has new keys already" in said) == (1, True)
    second = [key for key in keys(run) if key["state"] == "waiting"]
    assert {key["selector"] for key in second}.isdisjoint(key["selector"] for key in first)
    zone.replace("\n".join(key["zone"] for key in [*first, *second]))
    status, said = run("domain", "dkim", "check")
    assert (status, said.count(" signs."), said.count("leave its record in the DNS until")) == (0, 2, 2)
    early = next(key["selector"] for key in keys(run) if key["state"] == "replaced")
    status, said = run("domain", "dkim", "remove", "home.test", early)
    assert (status, "leave its record in the DNS for a week" in said) == (0, True)
    with open_sync(tmp_path / "data") as store:
        for key in store.read(domainkeys.of, "home.test"):
            store.run(domainkeys.forget, key.domain, key.selector)
            restored = key._replace(seen=Millis((key.seen or 0) - KEPT), selector=key.selector + "x")
            store.run(domainkeys.add, key.domain, [restored])
    assert {key["state"] for key in keys(run)} == {"over", "signing"}
    over = next(key["selector"] for key in keys(run) if key["state"] == "over")
    status, said = run("domain", "dkim", "show", "home.test")
    assert f"posthouse domain dkim remove home.test {over}" in said
    status, said = run("domain", "dkim", "remove", "home.test", over)
    assert (status, said) == (0, f"Removed {over} of home.test.\n")
    assert over not in {key["selector"] for key in keys(run)}


def test_a_dns_that_does_not_answer(run: Run, zone: ZoneResolver) -> None:
    from posthouse.trust.resolver import Found

    run("domain", "dkim", "add", "home.test")
    zone.failing |= {key["name"]: Found.SERVFAIL for key in keys(run)}
    status, said = run("domain", "dkim", "check", "home.test")
    assert (status, said.count("The DNS does not answer for ")) == (0, 2)
    assert {key["dns"] for key in keys(run)} == {None}


def test_what_is_refused(run: Run) -> None:
    cases = {
        ("add", "other.test"): "not a domain of this server",
        ("add", "[127.0.0.1]"): "cannot sign",
        ("show", "home.test"): "has no keys",
        ("rotate", "home.test"): "posthouse domain dkim add home.test",
        ("check", "home.test"): "has no keys",
        ("remove", "home.test"): "has no keys",
    }
    for words, reason in cases.items():
        status, said = run("domain", "dkim", *words)
        assert (status, reason in said) == (1, True), said
    assert run("domain", "dkim", "show") == (0, "There are none.\n")
    run("domain", "dkim", "add", "home.test")
    assert "has keys already" in run("domain", "dkim", "add", "home.test")[1]
    assert "has no key x" in run("domain", "dkim", "remove", "home.test", "x")[1]


def test_the_server_itself_may_have_keys(run: Run) -> None:
    assert run("domain", "dkim", "add", "mail.home.test")[0] == 0


def test_keys_that_sign_are_not_removed_unasked(run: Run, zone: ZoneResolver) -> None:
    run("domain", "dkim", "add", "home.test")
    zone.replace("\n".join(key["zone"] for key in keys(run)))
    run("domain", "dkim", "check")
    status, said = run("domain", "dkim", "remove", "home.test")
    assert (status, "--yes" in said) == (1, True)
    status, said = run("domain", "dkim", "remove", "home.test", "--yes")
    assert (status, "Leave the record in the DNS for a week" in said) == (0, True)
    run("domain", "dkim", "add", "home.test")
    assert all("-2" in key["selector"] for key in keys(run)), "RFC 6376 §3.1: no selector is used twice"


def test_keys_go_with_their_domain(run: Run) -> None:
    run("domain", "dkim", "add", "home.test")
    run("domain", "rename", "home.test", "house.test")
    assert len(keys(run, "home.test")) == 2, "it is an alias, and may still be written from"
    run("domain", "remove", "home.test")
    assert keys(run) == []
    run("domain", "dkim", "add", "house.test")
    run("domain", "rename", "house.test", "home.test", "--no-keep-alias")
    assert keys(run) == []


def test_keys_are_bounded(tmp_path: Path) -> None:
    with open_sync(tmp_path / "data", create=True) as store:
        made = [DomainKey("a.test", f"s{n}", "rsa-sha256", b"", b"", Millis(n)) for n in range(KEYS + 1)]
        with pytest.raises(Exists, match="remove those that are over"):
            store.run(domainkeys.add, "a.test", made)
        store.run(domainkeys.add, "a.test", made[:KEYS])
        store.run(domainkeys.remove, "a.test")
        with pytest.raises(Exists, match="used before"):
            store.run(domainkeys.add, "a.test", made[:1])
