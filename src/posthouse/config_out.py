"""Settings of the way out: smart hosts, source addresses, and what TLS is asked of others. Part of config.py."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from posthouse.mail.address import parse_domain
from posthouse.mail.spelling import why_no_domain
from posthouse.net.reach import networks

Port = Annotated[int, Meta(ge=1, le=65_535)]
Tls = Literal["verified", "encrypted", "opportunistic"]
EVERYBODY = "*"
PROBES = ("gmail-smtp-in.l.google.com", "mta5.am0.yahoodns.net", "mx01.mail.icloud.com")


class Route(Struct, frozen=True):
    """The smart host of some destinations; host "" is the direct way."""

    domains: tuple[str, ...]
    host: str = ""
    port: Port = 587
    user: str = ""
    password: str = ""
    password_file: str = ""
    tls: Tls = "verified"
    channel_binding: bool = True


class RelaySection(Struct, frozen=True):
    """Smart hosts: servers that take our mail to the world."""

    host: str = ""
    port: Port = 587
    user: str = ""
    password: str = ""
    password_file: str = ""
    tls: Tls = "verified"
    channel_binding: bool = True
    use: Literal["always", "blocked"] = "always"
    routes: tuple[Route, ...] = ()


class Source(Struct, frozen=True):
    """From which addresses the mail of a domain of this house leaves."""

    domain: str
    addresses: tuple[str, ...]


class SendingSection(Struct, frozen=True):
    """How other servers are reached."""

    sources: tuple[Source, ...] = ()
    private_networks: tuple[str, ...] = ()
    authorities: str = ""
    probes: tuple[str, ...] = PROBES
    tls_reports: bool = True


SmartHost = Route | RelaySection


def settle_relay(relay: RelaySection, folder: Path) -> RelaySection:
    """Password files begin at the folder of the settings."""
    routes = tuple(
        msgspec.structs.replace(route, password_file=_below(folder, route.password_file)) for route in relay.routes
    )
    return msgspec.structs.replace(relay, password_file=_below(folder, relay.password_file), routes=routes)


def settle_sending(sending: SendingSection, folder: Path) -> SendingSection:
    """So does the file of authorities."""
    return msgspec.structs.replace(sending, authorities=_below(folder, sending.authorities))


def _below(folder: Path, file: str) -> str:
    return str(folder / file) if file else ""


def problems(relay: RelaySection, sending: SendingSection) -> Iterator[str]:
    """What cannot be meant, a sentence each."""
    if relay.user and not relay.host:
        yield "relay.user: relay.host is missing"
    yield from _host_problems("relay", relay)
    for index, route in enumerate(relay.routes):
        where = f"relay.routes[{index}]"
        yield from _host_problems(where, route)
        for name in route.domains:
            if parse_domain(name.removeprefix(".")) is None:
                yield f"{where}.domains: {name!r} is no domain: {why_no_domain(name)}"
    yield from _sending_problems(sending)


def _host_problems(where: str, one: SmartHost) -> Iterator[str]:
    if one.host and parse_domain(one.host) is None and not _is_ip(one.host):
        yield f"{where}.host: expected a host name or an IP address, got {one.host!r}"
    if one.user and not (one.password or one.password_file):
        yield f"{where}.password: missing; relay.user wants it, or password_file"
    if one.password and one.password_file:
        yield f"{where}.password: there is a password_file too; one of them is enough"
    if one.user and one.tls == "opportunistic":
        yield f"{where}.tls: with a password the connection must be at least encrypted"


def _sending_problems(sending: SendingSection) -> Iterator[str]:
    for index, source in enumerate(sending.sources):
        if source.domain != EVERYBODY and parse_domain(source.domain) is None:
            yield f"sending.sources[{index}].domain: {source.domain!r} is no domain: {why_no_domain(source.domain)}"
        for ip in source.addresses:
            if not _is_ip(ip):
                yield f"sending.sources[{index}].addresses: {ip!r} is no IP address"
    try:
        networks(sending.private_networks)
    except ValueError as error:
        yield f"sending.private_networks: {error}"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
