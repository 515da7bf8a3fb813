"""`posthouse check`: what stands between a settings file and a server that works, a sentence for each problem."""

import contextlib
import os
import pwd
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from posthouse import start
from posthouse.config_directory import source_of
from posthouse.config_sections import Settings
from posthouse.identity import clients_of
from posthouse.mail.address import Address, Domain
from posthouse.net import authority
from posthouse.net.directory import NoAnswer
from posthouse.net.https import https_context
from posthouse.net.tls import CertificateError, CertificateFiles, ask_clients, load, server_context
from posthouse.outgoing import believed, make_relays
from posthouse.serve.imap.entry import FOR_USERS

NOBODY = Address("posthouse-check", Domain("invalid"))  # RFC 2606 §2
SOON = timedelta(days=14)  # a certificate with less left is worth a word


def problems(settings: Settings) -> list[str]:
    """What would keep the server from starting, or users from using it."""
    try:
        owner = start.owner_of(settings.user) if os.geteuid() == 0 else None
    except start.CannotStart as error:
        return [*_alone(settings), str(error), *_directory(settings, None), *_certificates(settings, None)]
    return [*_alone(settings), *_user(settings), *_directory(settings, owner), *_certificates(settings, owner)]


def advice(settings: Settings) -> list[str]:
    """What works, and could be better."""
    return [*_hostname(settings), *_soon(settings), *_root(settings)]


def _alone(settings: Settings) -> list[str]:
    """What the settings say by themselves, whoever reads them."""
    return [*_listeners(settings), *_withheld(settings), *users_elsewhere(settings)]


def users_elsewhere(settings: Settings) -> Iterator[str]:
    """Whether the directory of users answers; nobody in it has that name."""
    if not settings.directory.url:
        return
    try:
        with contextlib.closing(source_of(settings.directory)) as source:
            source.find(NOBODY)
    except (ValueError, NoAnswer) as error:
        yield str(error) if str(error).startswith("directory") else f"directory: {error}"


def _listeners(settings: Settings) -> Iterator[str]:
    seen: dict[str, str] = {}
    for service, places in settings.listeners().items():
        for where in places:
            first = seen.setdefault(str(where), service)
            if first != service:
                yield f"{service}: {where} is used by {first} already; each port has one service"
    if not seen:
        yield "nothing listens: every `listen` is empty"


def _withheld(settings: Settings) -> Iterator[str]:
    for name in settings.imap.withheld:
        if name not in FOR_USERS:
            yield f"imap.withheld: {name} is no capability that can be withheld; CAPABILITY after a login names them"


def _user(settings: Settings) -> Iterator[str]:
    if not settings.user:
        return
    try:
        pwd.getpwnam(settings.user)
    except KeyError:
        yield f"user: this machine has no user {settings.user}"


def _directory(settings: Settings, owner: pwd.struct_passwd | None) -> Iterator[str]:
    """The server makes a new directory as who starts it, and writes into one that is in use as the owner."""
    directory = settings.folder
    nearest = directory
    try:
        start.examine(directory, owner)
        nearest = next(folder for folder in (directory, *directory.parents) if folder.exists())
        with start.acting_as(owner if start.in_use(directory) else None):
            tempfile.TemporaryDirectory(prefix=".posthouse-check-", dir=nearest).cleanup()
    except start.CannotStart as error:
        yield str(error)
    except OSError as error:
        if owner is not None or not settings.user:
            yield f"data: nothing can be written to {nearest}: {error.strerror}"
        else:
            yield f"data: {nearest} is closed to you ({error.strerror}); check it as root or as {settings.user}"


def _certificates(settings: Settings, owner: pwd.struct_passwd | None) -> Iterator[str]:
    with start.acting_as(owner):
        yield from list(_bad_certificates(settings))


def _bad_certificates(settings: Settings) -> Iterator[str]:
    for index, one in enumerate(settings.tls.certificates):
        place = f"tls.certificates[{index}]"
        files = CertificateFiles(Path(one.certificate), Path(one.key))
        try:
            load(files)
            end = authority.expires(files.certificate)
        except CertificateError as error:
            yield f"{place}: {start.why_unusable(error)}"
            continue
        if end < datetime.now(UTC):
            yield f"{place}: {files.certificate} has expired on {end:%Y-%m-%d}"
    yield from _bad_authorities(settings)
    yield from _smart_hosts(settings)


def _bad_authorities(settings: Settings) -> Iterator[str]:
    """Of clients and of providers."""
    for index, kind in enumerate(settings.login.certificates):
        try:
            ask_clients(server_context(), clients_of(kind))
        except CertificateError as error:
            yield f"login.certificates[{index}].authorities: {error}"
    for index, provider in enumerate(settings.login.providers):
        try:
            https_context(Path(provider.authorities) if provider.authorities else None)
        except OSError as error:  # ssl.SSLError is one
            yield f"login.providers[{index}].authorities: {provider.authorities}: {error.strerror or error}"


def _smart_hosts(settings: Settings) -> Iterator[str]:
    """What mail to others needs."""
    try:
        make_relays(settings)
    except OSError as error:
        yield f"relay.password_file: {error.filename}: {error.strerror}"
    try:
        believed(settings)
    except OSError as error:
        yield f"sending.authorities: {error.filename}: {error.strerror}"


def _hostname(settings: Settings) -> Iterator[str]:
    name = settings.hostname
    if "." not in name:
        yield f"hostname: {name} is no full name; other servers want one such as mail.example.org"
    known = [known for one in settings.tls.certificates for known in _names(Path(one.certificate))]
    wild = "*." + name.partition(".")[2]
    if known and name.lower() not in known and wild.lower() not in known:
        yield f"hostname: no certificate is for {name}; they are for {', '.join(known)}"


def _names(certificate: Path) -> tuple[str, ...]:
    try:
        return authority.names(certificate)
    except CertificateError:
        return ()


def _soon(settings: Settings) -> Iterator[str]:
    if not settings.tls.certificates:
        yield "tls.certificates: none, so a self-signed one is made; mail programs will ask whether to trust it"
    for one in settings.tls.certificates:
        try:
            end = authority.expires(Path(one.certificate))
        except CertificateError:
            continue
        if datetime.now(UTC) < end < datetime.now(UTC) + SOON:
            yield f"tls.certificates: {one.certificate} expires on {end:%Y-%m-%d}"


def _root(settings: Settings) -> Iterator[str]:
    if os.geteuid() == 0 and not settings.user:
        yield "user: not set, so the server would run as root"
