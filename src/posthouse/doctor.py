"""`posthouse doctor`: does the network let this server send and receive mail, and if not, what is to be done.

Each check gives Findings: what was found, in words, and what to do. Nothing is changed and no mail is sent. What only
concerns the settings file is told by `posthouse check`.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum

from posthouse.check import users_elsewhere
from posthouse.config_sections import Settings
from posthouse.mail.address import Domain
from posthouse.net.connect import NotConnected, connect
from posthouse.net.reach import may_reach
from posthouse.outgoing import authorities, make_relays, make_resolver, ourselves
from posthouse.store.domainkeys import DomainKey, KeyPhase, phases
from posthouse.store.moment import wall_clock
from posthouse.transport.connection import Connection, Sending, begin
from posthouse.transport.mailhosts import Addresses, find_addresses
from posthouse.transport.port25 import Ask, probe
from posthouse.transport.relays import Relay, relay_target
from posthouse.transport.signing import look
from posthouse.transport.target import TlsLevel, Unreachable
from posthouse.trust.dkim import record_name
from posthouse.trust.resolver import Found, Mx, Resolver
from posthouse.trust.tags import Published

SIGNED = "ietf.org"  # a domain that has been signed with DNSSEC for long
ADDRESSES = 4  # of our own host name that are looked at
DOMAINS = 200  # of this house that are looked at
RELAYS = 20
CONNECT_SECONDS = 10.0


class Health(Enum):
    """How good a finding is."""

    GOOD = "good"
    WARNING = "warning"  # mail flows, and could flow better
    BAD = "bad"  # mail does not flow
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found. `todo` is "" where nothing is to be done."""

    check: str
    health: Health
    found: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """Whom the doctor looks at, and by what. `ask` tries a port 25; None: really."""

    settings: Settings
    domains: tuple[str, ...]
    resolver: Resolver
    ask: Ask | None = None
    signed: str = SIGNED
    relays: tuple[Relay, ...] = field(default=())
    keys: tuple[DomainKey, ...] = ()


def patient(settings: Settings, domains: Iterable[str], keys: Iterable[DomainKey] = ()) -> Patient:
    """Raises OSError for a password file that cannot be read."""
    relays = make_relays(settings)
    return Patient(settings, tuple(domains), make_resolver(settings), relays=relays, keys=tuple(keys))


async def examine(who: Patient) -> list[Finding]:
    """All checks; without a DNS the others of the network would only repeat that."""
    dns = await _dns(who)
    if dns[0].health is Health.BAD:
        return [*dns, *await _directory(who)]
    host = await find_addresses(who.settings.hostname.lower(), who.resolver)
    rest = await asyncio.gather(
        _port25(who), _name(who, host), _domains(who, host), _keys(who), _relays(who), _directory(who)
    )
    return [*dns, *(finding for findings in rest for finding in findings)]


# --- the DNS


async def _dns(who: Patient) -> list[Finding]:
    answer = await who.resolver.mx(who.signed)
    if answer.temporary:
        return [
            Finding(
                "dns",
                Health.BAD,
                f"The DNS does not answer ({answer.found.value}), so nothing can be sent.",
                "Look whether the servers in /etc/resolv.conf, or dns.servers in the settings, can be reached.",
            )
        ]
    if answer.found is not Found.RECORDS:
        words = f"The DNS server answers, and does not know {who.signed}: it is not the DNS of the Internet."
        return [
            Finding("dns", Health.BAD, words, "Name another in dns.servers, or install one on this machine: unbound.")
        ]
    findings = [Finding("dns", Health.GOOD, "The DNS answers.")]
    if answer.authentic:
        findings.append(Finding("dnssec", Health.GOOD, "The DNS server validates (DNSSEC), so DANE is in force."))
    else:
        findings.append(
            Finding(
                "dnssec",
                Health.WARNING,
                "The DNS server does not validate (DNSSEC), or is not on this machine: DANE is off.",
                'Run "apt-get install unbound" and set dns.servers = ["127.0.0.1"].',
            )
        )
    return findings


# --- the way out


async def _port25(who: Patient) -> list[Finding]:
    found = await probe(who.settings.sending.probes, who.resolver, who.ask)
    told = "; ".join(f"{host} {what}" for host, what in found.tried)
    if found.open:
        return [Finding("port25", Health.GOOD, "Port 25 leads out: other mail servers can be reached.")]
    if found.open is None:
        return [Finding("port25", Health.UNKNOWN, f"Whether port 25 leads out is not known: {told}.")]
    everything = who.settings.relay.host
    if everything:
        health, todo = Health.WARNING, ""
        words = f"Port 25 does not lead out; mail leaves by the smart host {everything}."
    else:
        health, words = Health.BAD, f"Port 25 does not lead out, so no mail can be sent: {told}."
        todo = (
            "Many providers close port 25 until they are asked to open it: look in their panel or write to them. Or "
            "name a smart host, [relay] in the settings, which is reached by port 587 or 465."
        )
    return [Finding("port25", health, words, todo)]


async def _relays(who: Patient) -> list[Finding]:
    return list(await asyncio.gather(*[_relay(relay, who) for relay in who.relays[:RELAYS]]))


async def _relay(relay: Relay, who: Patient) -> Finding:
    name = f"{relay.host}:{relay.port}"
    target = await relay_target(relay, who.resolver)
    if isinstance(target, Unreachable):
        return Finding("relay", Health.BAD, f"{target.reason}.", "Look at [relay] in the settings.")
    connected = await connect(target.ips, target.port, seconds=CONNECT_SECONDS)
    if isinstance(connected, NotConnected):
        return Finding(
            "relay",
            Health.BAD,
            f"The smart host {name} cannot be reached: {connected.reason}.",
            "Try another of its ports: 587, 465 and 2525 are usual.",
        )
    sending = Sending(who.settings.hostname, authorities=authorities(who.settings))
    found = await begin(connected, target, sending)
    if isinstance(found, Connection):
        found.leave()
        words = "and lets us log in" if relay.login else "and asks for no login"
        return Finding("relay", Health.GOOD, f"The smart host {name} answers {words}.")
    said = f' It says "{found.answer.code} {found.answer.text}".' if found.answer else ""
    todo = "Look at its user and password." if found.where.value == "login" else _tls_advice(relay)
    return Finding("relay", Health.BAD, f"The smart host {name} is of no use: {found.reason}.{said}", todo)


def _tls_advice(relay: Relay) -> str:
    if relay.tls is TlsLevel.VERIFIED:
        return 'Its certificate must be for the name in relay.host; tls = "encrypted" takes any certificate.'
    return "Look whether this port is the one it wants mail at."


# --- the users


async def _directory(who: Patient) -> list[Finding]:
    """Of the directory of users, where there is one."""
    if not who.settings.directory.url:
        return []
    wrong = await asyncio.to_thread(lambda: list(users_elsewhere(who.settings)))
    if not wrong:
        return [Finding("directory", Health.GOOD, "The directory of users answers.")]
    todo = "Until it answers, mail for users who are new here waits with its senders, and its users cannot log in."
    return [Finding("directory", Health.BAD, f"{one}.", todo) for one in wrong]


# --- our name


async def _name(who: Patient, host: Addresses) -> list[Finding]:
    name = who.settings.hostname.lower()
    if "." not in name:
        return [
            Finding(
                "hostname",
                Health.BAD,
                f"This server calls itself {name}, which is no name in the DNS; many servers refuse mail from it.",
                'Set hostname in the settings, for instance to "mail.example.org".',
            )
        ]
    if not host.ips:
        return [Finding("hostname", Health.BAD, f"{name} has no address in the DNS.", _address_advice(who, name))]
    private = [ip for ip in host.ips if not may_reach(ip)]
    if private:
        return [
            Finding(
                "hostname",
                Health.WARNING,
                f"{name} has the address {private[0]}, which is not part of the Internet: no other server finds it.",
                _address_advice(who, name),
            )
        ]
    findings = await asyncio.gather(*[_reverse(who, name, ip) for ip in host.ips[:ADDRESSES]])
    return [Finding("hostname", Health.GOOD, f"{name} has the address {', '.join(host.ips[:ADDRESSES])}."), *findings]


def _address_advice(who: Patient, name: str) -> str:
    public = sorted(ip for ip in ourselves(who.settings).ips if may_reach(ip))
    shown = public[0] if public else "the public address of this server"
    kind = "AAAA" if ":" in shown else "A"
    return f"Add to the DNS:  {name}. {kind} {shown}"


async def _reverse(who: Patient, name: str, ip: str) -> Finding:
    answer = await who.resolver.ptr(ip)
    if name in answer.records:
        return Finding("ptr", Health.GOOD, f"The reverse name of {ip} is {name}.")
    if answer.temporary:
        return Finding("ptr", Health.UNKNOWN, f"The DNS does not answer for the reverse name of {ip}.")
    other = f"is {answer.records[0]}, not {name}" if answer.records else "is missing"
    return Finding(
        "ptr",
        Health.WARNING,
        f"The reverse name of {ip} {other}; large providers refuse mail for that.",
        f'Set "reverse DNS" of {ip} to {name}: in the panel of whoever rents out the address, not where the domain is.',
    )


# --- the way in


async def _domains(who: Patient, host: Addresses) -> list[Finding]:
    if not who.domains:
        return [Finding("mx", Health.UNKNOWN, "This server takes mail for no domain yet.", "posthouse domain add")]
    ours = {*host.ips, *ourselves(who.settings).ips}
    return list(await asyncio.gather(*[_mx(who, domain, ours) for domain in who.domains[:DOMAINS]]))


async def _mx(who: Patient, domain: str, ours: set[str]) -> Finding:
    name = who.settings.hostname.lower()
    answer = await who.resolver.mx(domain)
    if answer.temporary:
        return Finding("mx", Health.UNKNOWN, f"The DNS does not answer who takes mail for {domain}.")
    if answer.found is Found.NXDOMAIN:
        return Finding(
            "mx",
            Health.BAD,
            f"There is no domain {domain} in the DNS.",
            f"Register it, and add to its DNS:  {_mx_line(domain, name)}",
        )
    records = sorted(answer.records) or [Mx(0, domain)]
    if await _leads_here(who, records[0].host, name, ours):
        return Finding("mx", Health.GOOD, f"Mail for {domain} comes to this server.")
    for record in records[1:DOMAINS]:  # the usual is one
        if await _leads_here(who, record.host, name, ours):
            words = f"Mail for {domain} goes to {records[0].host} first, and to this server when that is away."
            return Finding("mx", Health.WARNING, words, "That is right if this server is meant as its second.")
    first = records[0].host or "nobody (null MX)"
    if not answer.records:
        first = "no mail server: there is no MX record"
    words = f"Mail for {domain} does not come to this server, but to {first}."
    return Finding("mx", Health.BAD, words, f"Add to the DNS, in place of other MX records:  {_mx_line(domain, name)}")


def _mx_line(domain: str, name: str) -> str:
    return f"{domain}. MX 10 {name}."


async def _leads_here(who: Patient, host: str, name: str, ours: set[str]) -> bool:
    if host == name:
        return True
    return bool(host) and bool(ours & set((await find_addresses(host, who.resolver)).ips))


# --- the keys that sign


_ADVICE = {
    Published.QUOTED: "Enter its value without quotation marks and backslashes",
    Published.CUT: "Enter its whole value; where a form takes 255 characters, as two strings",
    Published.SEVERAL: "Remove the others, and leave this one",
    Published.OTHER: "Enter this one in its place",
}


async def _keys(who: Patient) -> list[Finding]:
    """Whether others can verify what is signed here (RFC 6376 §3.6.2)."""
    owners = dict.fromkeys([*who.domains[:DOMAINS], *(key.domain for key in who.keys)])
    return [finding for owner in owners for finding in await _keys_of(who, owner)]


async def _keys_of(who: Patient, domain: str) -> list[Finding]:
    keys = [key for key in who.keys if key.domain == domain]
    if not keys:
        words = f"Mail from {domain} is not signed (DKIM); large providers refuse such mail, or take it for junk."
        return [Finding("dkim", Health.WARNING, words, f"posthouse domain dkim add {domain}")]
    good = [(key, phase) for key, phase in phases(keys, wall_clock()) if phase is not KeyPhase.REPLACED]
    return list(await asyncio.gather(*[_key(who, key, phase) for key, phase in good]))


async def _key(who: Patient, key: DomainKey, phase: KeyPhase) -> Finding:
    name, show = record_name(key.selector, Domain(key.domain)), f"posthouse domain dkim show {key.domain}"
    if phase is KeyPhase.OVER:
        words = f"The key {key.selector} of {key.domain} is over."
        remove = f"posthouse domain dkim remove {key.domain} {key.selector}"
        return Finding("dkim", Health.GOOD, words, f"Remove its record, then: {remove}")
    found = await look(key, who.resolver)
    if found is None:
        return Finding("dkim", Health.UNKNOWN, f"The DNS does not answer for {name}.")
    if found is not Published.GOOD:
        words = f"The record of a key, {name}, {found.value}."
        advice = _ADVICE.get(found, "Publish it")
        if phase is KeyPhase.WAITING:
            return Finding("dkim", Health.WARNING, words, f"{advice}: {show}")
        words += " Mail is signed with this key all the same, and nobody can verify it."
        return Finding("dkim", Health.BAD, words, f"{advice}: {show}")
    if phase is KeyPhase.WAITING:
        return Finding("dkim", Health.GOOD, f"The key {key.selector} of {key.domain} signs in some minutes.")
    return Finding("dkim", Health.GOOD, f"Mail from {key.domain} is signed by the key {key.selector}.")


# --- in words


MARKS = {Health.GOOD: "ok", Health.WARNING: "could be better", Health.BAD: "WRONG", Health.UNKNOWN: "not known"}


def printed(findings: Sequence[Finding], *, as_json: bool) -> str:
    """For people, or for programs."""
    if as_json:
        return json.dumps([{**asdict(one), "health": one.health.value} for one in findings], indent=2)
    lines = []
    for one in findings:
        lines.append(f"{MARKS[one.health]:>15}  {one.found}")
        if one.todo:
            lines.append(f"{'':>15}  -> {one.todo}")
    return "\n".join(lines)


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether mail flows, as far as is known."""
    return all(one.health is not Health.BAD for one in findings)
