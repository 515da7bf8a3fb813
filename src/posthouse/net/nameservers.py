"""Which recursive servers are asked, and which of them are trusted: settings and resolv.conf(5), read."""

import ipaddress
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")
# On this machine, and yet they repeat what a server elsewhere has said: Docker's, and the one of systemd-resolved that
# only passes on.
FORWARDERS = frozenset({"127.0.0.11", "127.0.0.54"})
SERVERS = 3  # of /etc/resolv.conf, as resolv.conf(5) says


class Trust(Enum):
    """Whose AD bit is believed (decision 0081)."""

    LOOPBACK = "loopback"  # servers of this machine
    ALL = "all"  # every server named: the way to them is safe
    NONE = "none"


class Server(NamedTuple):
    """A recursive server."""

    host: str
    port: int = PORT
    trusted: bool = False


def servers_of(texts: Iterable[str], trust: Trust) -> tuple[Server, ...]:
    """Servers from "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53" or "2001:db8::1". Raises ValueError."""
    return tuple(_server(text, trust) for text in texts)


def _server(text: str, trust: Trust) -> Server:
    host, port = text.strip(), PORT
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = int(rest.removeprefix(":") or PORT)
    elif host.count(":") == 1:
        host, _, rest = host.partition(":")
        port = int(rest)
    address = ipaddress.ip_address(host)
    if not 0 < port < 65_536:
        raise ValueError(f"{text}: no port")
    here = address.is_loopback and str(address) not in FORWARDERS
    trusted = trust is Trust.ALL or (trust is Trust.LOOPBACK and here)
    return Server(host, port, trusted)


def system_servers(trust: Trust, file: Path = RESOLV_CONF) -> tuple[Server, ...]:
    """What resolv.conf(5) names; where it names nothing, this machine."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = [words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"]
    found = [server for text in named if (server := _server_or_none(text, trust)) is not None]
    return tuple(found[:SERVERS]) or servers_of(["127.0.0.1"], trust)


def _server_or_none(text: str, trust: Trust) -> Server | None:
    try:
        return _server(f"[{text}]" if ":" in text else text, trust)
    except ValueError:
        return None
