"""A real DNS on loopback addresses and free ports: NSD serves zones, signed by dnspython where that is wanted, and
Unbound asks it and validates. Debian has both: apt-get install nsd unbound."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.dnssecalgs
import dns.dnssectypes
import dns.exception
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rrset
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from freeports import free_ports
from posthouse.net.dns import DnsLimits, NetworkResolver
from posthouse.net.nameservers import Server

PROGRAMS = ("nsd", "unbound")
PATIENCE = 60.0  # seconds for both to answer
LIFE = 86_400  # seconds that signatures hold


@dataclass(frozen=True, slots=True)
class Zone:
    """What a zone has beside its SOA and NS, in names relative to it; signed, and with an anchor that fits or not."""

    text: str
    signed: bool = False
    broken: bool = False  # the anchor is of another key: nothing of it validates


def find_programs() -> dict[str, str]:
    """The paths of the programs; skips where one is missing."""
    path = "/usr/sbin:/usr/bin:/usr/local/sbin"
    found = {name: shutil.which(name) or shutil.which(name, path=path) for name in PROGRAMS}
    missing = [name for name in PROGRAMS if not found[name]]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: apt-get install {' '.join(missing)}")
    return {name: place for name, place in found.items() if place}


@contextlib.asynccontextmanager
async def real_dns(
    folder: Path, zones: Mapping[str, Zone], at: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    """The validating server, running at this address, on a free port unless one is named."""
    programs = find_programs()
    nsd, free = free_ports(2)
    unbound = port or free
    anchors = [_write_zone(folder, name, zone) for name, zone in zones.items()]
    (folder / "nsd.conf").write_text(_nsd_conf(folder, nsd, zones))
    (folder / "unbound.conf").write_text(_unbound_conf(f"{at}@{unbound}", nsd, zones, [a for a in anchors if a]))
    commands = [
        [programs["nsd"], "-d", "-c", str(folder / "nsd.conf")],
        [programs["unbound"], "-d", "-c", str(folder / "unbound.conf")],
    ]
    running = []
    try:
        for command in commands:
            with (folder / "dns.log").open("ab") as log:
                running.append(await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log))
        server = Server(at, unbound, trusted=True)
        await _answering(server, next(iter(zones)), (folder / "dns.log").read_text)
        yield server
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _write_zone(folder: Path, name: str, zone: Zone) -> str:
    """The zone file, and the DS of its key for Unbound, "" where it is not signed."""
    head = f"@ 60 SOA ns.{name}. host.{name}. 1 3600 600 86400 60\n@ 60 NS ns.{name}.\nns 60 A 127.0.0.1\n"
    lines = "\n".join(line.strip() for line in zone.text.splitlines())
    read = dns.zone.from_text(f"$TTL 60\n{head}{lines}\n", f"{name}.", relativize=False)
    anchor = ""
    if zone.signed or zone.broken:
        key = ec.generate_private_key(ec.SECP256R1())
        public = _public(key)
        with read.writer() as writer:
            dns.dnssec.sign_zone(zone=read, txn=writer, keys=[(key, public)], lifetime=LIFE)
        shown = _public(ec.generate_private_key(ec.SECP256R1())) if zone.broken else public
        anchor = f"{name}. DS {dns.dnssec.make_ds(name + '.', shown, 'SHA256')}"
    read.to_file(str(folder / f"{name}.zone"), relativize=False)
    return anchor


def _public(key: ec.EllipticCurvePrivateKey) -> dns.rdtypes.ANY.DNSKEY.DNSKEY:
    return dns.dnssec.make_dnskey(key.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257)


def _nsd_conf(folder: Path, port: int, zones: Mapping[str, Zone]) -> str:
    server = f"""server:
    ip-address: 127.0.0.1@{port}
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    pidfile: "{folder}/nsd.pid"
    xfrdfile: ""
    zonelistfile: "{folder}/zone.list"
    xfrdir: "{folder}"
    database: ""
    server-count: 1
remote-control:
    control-enable: no
"""
    return server + "".join(f"zone:\n    name: {name}\n    zonefile: {name}.zone\n" for name in zones)


def _unbound_conf(interface: str, nsd: int, zones: Mapping[str, Zone], anchors: list[str]) -> str:
    server = f"""server:
    interface: {interface}
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    num-threads: 1
    do-daemonize: no
    do-not-query-localhost: no
    do-ip6: no
    module-config: "validator iterator"
    local-zone: "test." nodefault
    val-log-level: 1
"""
    anchor = "".join(f'    trust-anchor: "{line}"\n' for line in anchors)
    stubs = "".join(f"stub-zone:\n    name: {name}\n    stub-addr: 127.0.0.1@{nsd}\n" for name in zones)
    return f"{server}{anchor}remote-control:\n    control-enable: no\n{stubs}"


async def _answering(server: Server, zone: str, log: Callable[[], str]) -> None:
    resolver = NetworkResolver(lambda: (server,), DnsLimits(try_seconds=0.5, tries=1))
    try:
        async with asyncio.timeout(PATIENCE):
            while not (await resolver.a(f"ns.{zone}")).records:
                resolver.forget()
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"the DNS does not answer:\n{log()}")
    finally:
        await resolver.close()
