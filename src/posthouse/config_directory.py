"""Settings of the directory of users, and the Source that they describe. Part of config.py."""

import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec import Meta, Struct

from posthouse.net.directory import Source, unknown_places

if TYPE_CHECKING:
    from posthouse.net.postgresql import PostgresPlan

SECRET = 4_096  # octets of a file with a password
SCHEMES = ("ldap", "ldaps", "sqlite", "postgresql")
POSTGRESQL_PORT = 5432
POSTGRESQL_LIKE = "postgresql://user@host/database, or postgresql://user@/database?host=/run/postgresql"


class DirectorySection(Struct, frozen=True):
    """Users who are known elsewhere; url "": none are."""

    url: str = ""
    tls: Literal["verified", "none"] | None = None
    authorities: str = ""
    user_dn: str = ""
    base: str = ""
    filter: str = "(mail={address})"
    attribute: str = "mail"
    bind_dn: str = ""
    bind_password: str = ""
    bind_password_file: str = ""
    password: str = ""
    password_file: str = ""
    query: str = ""
    seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    remember_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 30.0
    threads: Annotated[int, Meta(ge=1, le=32)] = 2
    waiting: Annotated[int, Meta(ge=1, le=10_000)] = 32


def settle_directory(section: DirectorySection, folder: Path) -> DirectorySection:
    """Files begin at the folder of the settings."""
    url = section.url
    if url.startswith("sqlite:"):
        url = f"sqlite:{folder / url.removeprefix('sqlite:')}"
    return msgspec.structs.replace(
        section,
        url=url,
        bind_password_file=_below(folder, section.bind_password_file),
        password_file=_below(folder, section.password_file),
        authorities=_below(folder, section.authorities),
    )


def _below(folder: Path, file: str) -> str:
    return str(folder / file) if file else ""


def problems(section: DirectorySection) -> Iterator[str]:
    """What cannot be meant, a sentence each."""
    if not section.url:
        if section != DirectorySection():
            yield "directory.url: missing, and other settings of the directory are there"
        return
    scheme = section.url.partition(":")[0]
    if scheme not in SCHEMES:
        yield "directory.url: expected ldap://host, ldaps://host, postgresql://user@host/database or sqlite:file"
    elif scheme == "sqlite":
        yield from _view_problems(section)
    elif scheme == "postgresql":
        yield from _postgresql_problems(section)
    else:
        yield from _ldap_problems(section)
    if scheme in SCHEMES and scheme != "postgresql" and (section.password or section.password_file):
        yield "directory.password: this is for postgresql://; LDAP has directory.bind_password"


def _view_problems(section: DirectorySection) -> Iterator[str]:
    if section.url == "sqlite:":
        yield "directory.url: the file is missing, as in sqlite:/var/lib/users.db"
    if not any(f":{name}" in section.query for name in ("address", "local")):
        yield "directory.query: expected a SELECT with :address, or with :local and :domain"


def _postgresql_problems(section: DirectorySection) -> Iterator[str]:
    from posthouse.net.postgresql import has_place

    try:
        plan = postgresql_plan(section)
    except ValueError as error:
        yield f"directory.url: {error}"
    else:
        if section.tls == "none" and not _is_here(plan.host):
            yield "directory.tls: passwords would cross the network in the clear; none is for this computer only"
        if section.tls == "verified" and plan.host.startswith("/"):
            yield "directory.tls: there is no TLS on a Unix socket; leave it out"
    if not has_place(section.query):
        yield "directory.query: expected a SELECT with :address, or with :local and :domain"
    if section.password and section.password_file:
        yield "directory.password: there is a password_file too; one of them is enough"
    if section.bind_dn or section.bind_password or section.bind_password_file:
        yield "directory.bind_password: this is for LDAP; postgresql:// has directory.password"


def postgresql_plan(section: DirectorySection, password: str = "") -> "PostgresPlan":
    """Raises ValueError: what is wrong with the URL."""
    from posthouse.net.postgresql import PostgresPlan

    parts = urlsplit(section.url)
    more = parse_qs(parts.query, keep_blank_values=True)
    sockets = more.pop("host", [])
    if parts.password is not None:
        raise ValueError("no password in it, where others may read it; there is directory.password_file")
    if more:
        raise ValueError(f"{next(iter(more))} cannot be set in it; see directory.tls and directory.authorities")
    host = parts.hostname or (sockets[0] if sockets and sockets[0].startswith("/") else "")
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    if not (host and user and database) or (parts.hostname and sockets):
        raise ValueError(f"expected {POSTGRESQL_LIKE}; got {section.url!r}")
    return PostgresPlan(
        host,
        parts.port or POSTGRESQL_PORT,
        user,
        database,
        password,
        tls=section.tls == "verified" or (section.tls is None and not _is_here(host)),
        authorities=section.authorities,
        seconds=section.seconds,
    )


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


def _is_here(host: str) -> bool:
    """Whether nobody else can listen on the way: a Unix socket, or loopback."""
    return host.startswith("/") or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def source_of(section: DirectorySection) -> Source:
    """The directory that the settings describe. Raises ValueError: what is missing to use it, a sentence."""
    try:
        return _source_of(section)
    except ssl.SSLError:
        raise ValueError(f"directory.authorities: {section.authorities}: it holds no certificates (PEM)") from None
    except OSError as error:
        raise ValueError(f"directory.authorities: {section.authorities}: {error.strerror}") from None


def _source_of(section: DirectorySection) -> Source:
    if section.url.startswith("sqlite:"):
        from posthouse.store.userview import SqliteTable, UserView

        return UserView(SqliteTable(section.url.removeprefix("sqlite:"), section.query, section.seconds))
    if section.url.startswith("postgresql:"):
        return _postgresql(section)
    return _ldap(section)


def _postgresql(section: DirectorySection) -> Source:
    from posthouse.net.postgresql import INSTALL, Postgres
    from posthouse.store.userview import UserView

    plan = postgresql_plan(section, _secret("password", section.password, section.password_file))
    try:
        return UserView(Postgres(plan, section.query))
    except ImportError:
        raise ValueError(f"directory.url: PostgreSQL wants a package that is not installed: {INSTALL}") from None


def _ldap(section: DirectorySection) -> Source:
    from posthouse.net.ldap import INSTALL, Ldap, LdapPlan

    plan = LdapPlan(
        section.url,
        section.user_dn,
        section.base,
        section.filter,
        section.attribute,
        section.bind_dn,
        _secret("bind_password", section.bind_password, section.bind_password_file),
        tls=section.tls != "none",
        authorities=section.authorities,
        seconds=section.seconds,
    )
    try:
        return Ldap(plan)
    except ImportError:
        raise ValueError(f"directory.url: LDAP wants a package that is not installed: {INSTALL}") from None


def _secret(name: str, said: str, file: str) -> str:
    """A password of the settings, or of the file that they name."""
    if not file:
        return said
    try:
        with Path(file).open("rb") as opened:
            return opened.read(SECRET).decode("utf-8").strip("\r\n")
    except OSError as error:
        raise ValueError(f"directory.{name}_file: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"directory.{name}_file: {file}: it is no text in UTF-8") from None
