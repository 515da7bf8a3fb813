"""Settings of the directory of users, and the Source that they describe. Part of config.py."""

import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from posthouse.net.directory import Source, unknown_places

SECRET = 4_096  # octets of a file with a password
SCHEMES = ("ldap", "ldaps", "sqlite")


class DirectorySection(Struct, frozen=True):
    """Users who are known elsewhere; url "": none are."""

    url: str = ""
    tls: Literal["verified", "none"] = "verified"
    authorities: str = ""
    user_dn: str = ""
    base: str = ""
    filter: str = "(mail={address})"
    attribute: str = "mail"
    bind_dn: str = ""
    bind_password: str = ""
    bind_password_file: str = ""
    query: str = ""
    seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    remember_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 30.0
    threads: Annotated[int, Meta(ge=1, le=32)] = 2
    waiting: Annotated[int, Meta(ge=1, le=10_000)] = 32


def settle_directory(section: DirectorySection, folder: Path) -> DirectorySection:
    """Files begin at the folder of the settings."""
    file, authorities, url = section.bind_password_file, section.authorities, section.url
    if url.startswith("sqlite:"):
        url = f"sqlite:{folder / url.removeprefix('sqlite:')}"
    return msgspec.structs.replace(
        section,
        url=url,
        bind_password_file=str(folder / file) if file else "",
        authorities=str(folder / authorities) if authorities else "",
    )


def problems(section: DirectorySection) -> Iterator[str]:
    """What cannot be meant, a sentence each."""
    if not section.url:
        if section != DirectorySection():
            yield "directory.url: missing, and other settings of the directory are there"
        return
    scheme = section.url.partition(":")[0]
    if scheme not in SCHEMES:
        yield "directory.url: expected ldap://host, ldaps://host or sqlite:file"
    elif scheme == "sqlite":
        yield from _view_problems(section)
    else:
        yield from _ldap_problems(section)


def _view_problems(section: DirectorySection) -> Iterator[str]:
    if section.url == "sqlite:":
        yield "directory.url: the file is missing, as in sqlite:/var/lib/users.db"
    if not any(f":{name}" in section.query for name in ("address", "local")):
        yield "directory.query: expected a SELECT with :address, or with :local and :domain"


def _ldap_problems(section: DirectorySection) -> Iterator[str]:
    try:
        host = urlsplit(section.url).hostname
        urlsplit(section.url).port  # noqa: B018  # a port that is none raises
    except ValueError:
        host = None
    if not host:
        yield f"directory.url: expected ldap://host or ldaps://host, got {section.url!r}"
    elif section.tls == "none" and section.url.startswith("ldap:") and not _is_loopback(host):
        yield "directory.tls: passwords would cross the network in the clear; none is for this computer only"
    template, name = (section.user_dn, "user_dn") if section.user_dn else (section.filter, "filter")
    if "{address}" not in template and "{local}" not in template:
        yield f"directory.{name}: it must have {{address}}, or {{local}}, in it, or everybody would be anybody"
    for unknown in unknown_places(template):
        yield f"directory.{name}: {{{unknown}}} is unknown; there are {{address}}, {{local}} and {{domain}}"
    if not (section.user_dn or section.base):
        yield "directory.base: missing; below which entry are the users? Or give directory.user_dn"
    if section.bind_dn and not (section.bind_password or section.bind_password_file):
        yield "directory.bind_password: missing; directory.bind_dn wants it, or bind_password_file"
    if section.bind_password and section.bind_password_file:
        yield "directory.bind_password: there is a bind_password_file too; one of them is enough"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def source_of(section: DirectorySection) -> Source:
    """The directory that the settings describe. Raises OSError (the file with the password), ValueError (what is
    missing to use it, a sentence)."""
    if section.url.startswith("sqlite:"):
        from posthouse.store.userview import UserView

        return UserView(section.url.removeprefix("sqlite:"), section.query, section.seconds)
    from posthouse.net.ldap import INSTALL, Ldap, LdapPlan

    password = section.bind_password
    if section.bind_password_file:
        with Path(section.bind_password_file).open("rb") as file:
            password = file.read(SECRET).decode("utf-8").strip("\r\n")
    plan = LdapPlan(
        section.url,
        section.user_dn,
        section.base,
        section.filter,
        section.attribute,
        section.bind_dn,
        password,
        tls=section.tls == "verified",
        authorities=section.authorities,
        seconds=section.seconds,
    )
    try:
        return Ldap(plan)
    except ImportError:
        raise ValueError(f"directory.url: LDAP wants a package that is not installed: {INSTALL}") from None
    except ssl.SSLError:
        raise ValueError(f"directory.authorities: {section.authorities}: it holds no certificates (PEM)") from None
    except OSError as error:
        raise ValueError(f"directory.authorities: {section.authorities}: {error.strerror}") from None
