"""Settings of the way out, and what they become."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import FakeClock, ZoneResolver
from household import open_store
from posthouse.config import ConfigError, settle
from posthouse.config_sections import Settings
from posthouse.mail.address import Domain, ForwardPath, ReversePath, parse_address
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.net.https import Https
from posthouse.net.nameservers import Server
from posthouse.outgoing import WayOut, make_resolver, make_routing, ourselves
from posthouse.store import tlsreports
from posthouse.store.store import Store
from posthouse.store.tlsmemory import DAY
from posthouse.transport.house import House
from posthouse.transport.policies import Policies
from posthouse.transport.relays import Relay, Use
from posthouse.transport.target import RelayLogin, Target, TlsLevel, Unreachable
from posthouse.transport.targets import find_targets
from posthouse.trust.reports import Applied, PolicyType


def wrong(**tables: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        settle(tables)
    return raised.value.problems


def test_relays(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim\nx\n")
    relay = {
        "host": "Smart.example.net",
        "user": "house",
        "password_file": "secret",
        "use": "blocked",
        "routes": [
            {"domains": ["example.org", ".Example.org"], "host": "10.0.0.9", "port": 25, "tls": "opportunistic"},
            {"domains": ["example.com"]},
        ],
    }
    settings = settle({"relay": relay}, tmp_path)
    plan = make_routing(settings, make_resolver(settings)).relays
    assert plan.everything == Relay("smart.example.net", 587, RelayLogin("house", "geheim"), TlsLevel.VERIFIED)
    assert plan.use is Use.BLOCKED
    assert plan.routes == (
        (frozenset({"example.org", ".example.org"}), Relay("10.0.0.9", 25, None, TlsLevel.OPPORTUNISTIC)),
        (frozenset({"example.com"}), Relay("", 587, None, TlsLevel.VERIFIED)),
    )
    assert make_routing(Settings(), make_resolver(Settings())).relays.everything is None


def test_what_cannot_be_meant() -> None:
    assert "relay.user: relay.host is missing" in wrong(relay={"user": "a", "password": "b"})
    assert "relay.password: missing" in wrong(relay={"host": "a.test", "user": "a"})[0]
    assert (
        "at least encrypted" in wrong(relay={"host": "a.test", "user": "a", "password": "b", "tls": "opportunistic"})[0]
    )
    assert "one of them" in wrong(relay={"host": "a.test", "user": "a", "password": "b", "password_file": "c"})[0]
    assert "relay.host" in wrong(relay={"host": "a b"})[0]
    assert "no domain" in wrong(relay={"routes": [{"domains": ["a b"], "host": "a.test"}]})[0]
    assert "relay.port" in wrong(relay={"port": 70_000})[0]
    assert "private_networks" in wrong(sending={"private_networks": ["10.0.0.0/99"]})[0]
    assert len(wrong(sending={"sources": [{"domain": "a b", "addresses": ["x"]}]})) == 2
    assert "dns.servers" in wrong(dns={"servers": ["dns.example.org"]})[0]


def test_servers_of_the_settings() -> None:
    settings = settle({"dns": {"servers": ["192.0.2.1:5353"], "trust": "all"}})
    assert make_resolver(settings).servers == (Server("192.0.2.1", 5353, trusted=True),)
    assert make_resolver(Settings()).servers


def test_sources_and_networks() -> None:
    table = {
        "sources": [{"domain": "example.org", "addresses": ["192.0.2.5"]}],
        "private_networks": ["10.0.0.0/8"],
    }
    settings = settle({"sending": table})
    routing = make_routing(settings, make_resolver(settings))
    assert routing.sources == {"*": (), "example.org": ("192.0.2.5",)}
    assert str(routing.lookup.allowed[0]) == "10.0.0.0/8"


def test_who_we_are() -> None:
    """RFC 5321 §5.1: a server that takes mail at another port is not the one that an MX names."""
    everywhere = ourselves(Settings(hostname="MX.example.org"))
    assert everywhere.names == {"mx.example.org"}
    assert "127.0.0.1" in everywhere.ips
    one = settle({"smtp": {"listen": ["192.0.2.1:25", "*:2525"]}, "hostname": socket.gethostname()})
    assert ourselves(one).ips == {"192.0.2.1"}


async def test_the_way_out_of_a_worker(store: Store) -> None:
    """What an attempt has shown is remembered of the domain's own servers, and never of a smart host."""
    house = House(store, "mail.home.test", FakeClock().now)
    relay = {"routes": [{"domains": ["relayed.test"], "host": "127.0.0.1", "port": 1, "tls": "encrypted"}]}
    way = WayOut(settle({"relay": relay, "smtp": {"listen": ["5.5.0.1:25"]}}), house)
    ben = parse_address("ben@a.test")
    assert ben is not None
    over_tls = Outcome(Recipient(ForwardPath(ben)), Action.RELAYED, Status(2, 0, 0), "", house.clock(), tls="TLSv1.3")
    for name in ("a.test", "relayed.test", "[5.5.5.5]"):
        await way.learn(Domain(name), [over_tls])
    assert await way.remembered.level("a.test") is TlsLevel.ENCRYPTED
    assert await way.remembered.level("relayed.test") is TlsLevel.OPPORTUNISTIC
    envelope = Envelope(ReversePath(ben), ())
    found = await way.find(Domain("relayed.test"), envelope)
    assert not isinstance(found, Unreachable)
    assert [target.host for target in found] == ["127.0.0.1"]
    way.saw_tls(Target("mx.a.test", (), applied=Applied("a.test", PolicyType.NONE)), "5.5.5.5", None)
    running = asyncio.create_task(way.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    rows = await store.read(tlsreports.sessions, house.clock() // DAY, "a.test")
    assert [row.sessions for row in rows] == [1], "what was counted is written at the end"
    await way.close()


async def test_a_store_that_cannot_answer_lets_mail_wait(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    way = WayOut(settle({"smtp": {"listen": ["5.5.0.1:25"]}}), House(store, "mail.home.test", FakeClock().now))
    fake = ZoneResolver("a.test. A 5.5.5.5")
    way.routing = replace(way.routing, lookup=replace(way.routing.lookup, resolver=fake))
    way.policies = Policies(store, Https(fake), FakeClock().now)
    way.routing = replace(way.routing, policy=way.policies.find)
    await store.close()
    found = await way.find(Domain("a.test"), Envelope(ReversePath(), ()))
    assert isinstance(found, Unreachable)
    assert found.status.cls == 4
    await way.close()


async def test_a_smart_host_while_port_25_is_closed() -> None:
    """Tried for real: nobody listens at port 25 of that address."""
    zone = "a.test. MX 10 mx.a.test.\nmx.a.test. A 5.5.5.5\nprobe.test. A 127.0.25.77\n"
    table = {"relay": {"host": "127.0.0.1", "use": "blocked"}, "sending": {"probes": ["probe.test"]}}
    settings = settle({**table, "smtp": {"listen": ["5.5.0.1:25"]}})
    for zones, host in ((zone, "127.0.0.1"), (zone.replace("probe.test. A 127.0.25.77", ""), "mx.a.test")):
        routing = make_routing(settings, ZoneResolver(zones))
        found = await find_targets(Domain("a.test"), Envelope(ReversePath(), ()), routing)
        assert not isinstance(found, Unreachable)
        assert [target.host for target in found] == [host], "what cannot be known changes nothing"
