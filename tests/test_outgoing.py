"""Settings of the way out, and what they become."""

import socket
from pathlib import Path

import pytest

from posthouse.config import ConfigError, Settings, settle
from posthouse.net.nameservers import Server
from posthouse.outgoing import make_resolver, make_routing, ourselves
from posthouse.transport.relays import Relay, Use
from posthouse.transport.target import RelayLogin, TlsLevel


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
