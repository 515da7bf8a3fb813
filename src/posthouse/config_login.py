"""Settings of sign-in beside passwords: providers of identities, and certificates of clients. Part of config.py."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from posthouse.mail.address import parse_domain
from posthouse.mail.spelling import why_no_domain
from posthouse.net.https import https_url
from posthouse.net.reach import networks
from posthouse.wire.sasl import MECHANISMS

PROVIDERS = 20  # of one server; each keeps its keys in every worker
SignInService = Literal["submission", "submissions", "imap", "imaps", "pop3", "pop3s"]


class Provider(Struct, frozen=True):
    """A provider of identities whose tokens let users in (OpenID Connect, RFC 7628)."""

    issuer: str
    audience: tuple[str, ...]
    user_claim: Annotated[str, Meta(min_length=1, max_length=100)] = "email"
    user_domain: str = ""
    scope: str = ""
    keys: str = ""
    authorities: str = ""
    private_networks: tuple[str, ...] = ()


class ClientAuthorities(Struct, frozen=True):
    """Where clients are asked for certificates, of which authorities, and which name in them is the user."""

    authorities: str
    services: tuple[SignInService, ...] = get_args(SignInService)
    user: Literal["email", "subject"] = "email"


class LoginSettings(Struct, frozen=True):
    """How users log in."""

    allow_plaintext: bool = False
    logbook_days: Annotated[int, Meta(ge=1, le=36_500)] = 90
    totp_wants_devices: bool = False
    withheld: tuple[str, ...] = ()
    providers: tuple[Provider, ...] = ()
    certificates: tuple[ClientAuthorities, ...] = ()


def settle_login(login: LoginSettings, folder: Path) -> LoginSettings:
    """Files begin at the folder of the settings."""
    providers = tuple(
        msgspec.structs.replace(one, authorities=str(folder / one.authorities) if one.authorities else "")
        for one in login.providers
    )
    certificates = tuple(
        msgspec.structs.replace(one, authorities=str(folder / one.authorities)) for one in login.certificates
    )
    return msgspec.structs.replace(login, providers=providers, certificates=certificates)


def problems(login: LoginSettings) -> Iterator[str]:
    """What cannot be meant, a sentence each."""
    yield from _withheld_problems(login)
    yield from _certificate_problems(login)
    if len(login.providers) > PROVIDERS:
        yield f"login.providers: {PROVIDERS} are the most"
    for issuer, count in Counter(one.issuer for one in login.providers).items():
        if count > 1:
            yield f"login.providers: {issuer} is there twice"
    for index, one in enumerate(login.providers):
        yield from _provider_problems(f"login.providers[{index}]", one)


def _withheld_problems(login: LoginSettings) -> Iterator[str]:
    for name in login.withheld:
        if name not in MECHANISMS:
            yield f"login.withheld: {name} is no mechanism that is offered here; known: {', '.join(MECHANISMS)}"


def _certificate_problems(login: LoginSettings) -> Iterator[str]:
    for service, count in Counter(name for one in login.certificates for name in one.services).items():
        if count > 1:
            yield f"login.certificates: {service} is named twice; a port asks for one kind of certificate"
    for index, kind in enumerate(login.certificates):
        if not kind.authorities:
            yield f"login.certificates[{index}].authorities: missing; nobody's certificate would be good"


def _provider_problems(where: str, one: Provider) -> Iterator[str]:
    parts = https_url(one.issuer)
    if parts is None or parts.query:
        yield f"{where}.issuer: expected the https address of the provider, got {one.issuer!r}"
    if one.keys and https_url(one.keys) is None:
        yield f"{where}.keys: expected an https address, got {one.keys!r}"
    if not one.audience or not all(one.audience):
        yield f"{where}.audience: missing; without it a token that was made for another service would open mail here"
    if one.user_domain and parse_domain(one.user_domain) is None:
        yield f"{where}.user_domain: {one.user_domain!r} is no domain: {why_no_domain(one.user_domain)}"
    try:
        networks(one.private_networks)
    except ValueError as error:
        yield f"{where}.private_networks: {error}"
