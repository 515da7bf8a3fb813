"""Users of an LDAP directory: who has an address, by search, and whose password it is, by bind (RFC 4511 §4.2, §4.5,
RFC 4513 §5.1).

Every question has a connection of its own, which lives for a few seconds at most, whatever the server does. An empty
password is never sent: a server would take it for an anonymous bind and say yes (RFC 4513 §5.1.2). Referrals are not
followed (RFC 4511 §4.1.10): a password goes to the server of the settings and to no other.

ldap3 comes with the extra `ldap`, and is imported when a directory is configured.
"""

import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from posthouse.mail.address import Address
from posthouse.net.directory import FOUND, NoAnswer, Person, filled
from posthouse.wire.scram import saslprep

INSTALL = "pip install 'posthouse[ldap]'"
DN_LENGTH = 8_192  # characters; a longer name of an entry is none that people have made
ADDRESSES = 100  # of one user that are looked at
ANSWERS = 1024 * 1024  # octets that one connection may send us; an entry with one attribute has some hundred

# Result codes of RFC 4511 §4.1.9 and appendix A.
SUCCESS, SIZE_LIMIT, NO_SUCH_OBJECT = 0, 4, 32
# The server has looked, and this user may not come in: wrong password, no such entry, locked, expired.
REFUSED = {19, 32, 48, 49, 50, 53}


def _yes(value: str) -> bool:
    return value.strip().lower() == "true"


def _disabled(value: str) -> bool:
    return value.strip().isdecimal() and bool(int(value) & 2)  # ACCOUNTDISABLE


# How an administrator locks an entry, attribute by attribute. A lock after wrong passwords is none: it has another time
# in pwdAccountLockedTime, and would let strangers shut a user out.
LOCKS: dict[str, Callable[[str], bool]] = {
    "pwdAccountLockedTime": "000001010000Z".__eq__,  # draft-behera-ldap-password-policy-10, section 5.3.3: OpenLDAP
    "nsAccountLock": _yes,  # 389 Directory Server, FreeIPA
    "userAccountControl": _disabled,  # Active Directory
    "ds-pwp-account-disabled": _yes,  # OpenDJ, PingDirectory
    "loginDisabled": _yes,  # eDirectory
}


@dataclass(frozen=True, slots=True)
class LdapPlan:
    """Where the directory is, and how it is asked. `user_dn` is a template for the name of an entry; where it is "",
    `filter` is searched for below `base`. `attribute`: of the entry, the user's addresses; "": the one asked for.
    `bind_dn`: as whom it is searched; "": as nobody. `tls`: of ldap://, STARTTLS before anything else."""

    url: str
    user_dn: str = ""
    base: str = ""
    filter: str = "(mail={address})"
    attribute: str = "mail"
    bind_dn: str = ""
    bind_password: str = field(default="", repr=False)
    tls: bool = True
    authorities: str = ""
    seconds: float = 5.0


class _Counted:
    """The socket of a connection that has an end: ldap3 gathers whatever comes."""

    def __init__(self, plug: Any) -> None:
        self.plug = plug
        self._left = ANSWERS

    def recv(self, most: int) -> bytes:
        octets: bytes = self.plug.recv(most)
        self._left -= len(octets)
        if self._left < 0:
            raise OSError("the answer is too long")
        return octets

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plug, name)


class Ldap:
    """The Source that LDAP is. Raises ImportError where ldap3 is missing."""

    def __init__(self, plan: LdapPlan) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that its own dependency has renamed
            import ldap3
        self._ldap3: Any = ldap3
        self._plan = plan
        parts = urlsplit(plan.url)
        host = parts.hostname or "localhost"
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED)
        # ldap3 looks at names in certificates with a function that Python has no more: Python itself does it here.
        tls.wrap_socket = partial(_wrap, ssl.create_default_context(cafile=plan.authorities or None), host)
        self._starttls = parts.scheme == "ldap" and plan.tls
        self._server = ldap3.Server(
            host,
            port=parts.port or (636 if parts.scheme == "ldaps" else 389),
            use_ssl=parts.scheme == "ldaps",
            tls=tls,
            get_info=ldap3.NONE,
            connect_timeout=plan.seconds,
        )

    def find(self, address: Address) -> Person | None:
        """The addresses of the one entry that is found, and whether it is locked."""
        entry = self._entry(address)
        return None if entry is None else entry[1]

    def prove(self, address: Address, password: str) -> Person | None:
        """The same, where it is not and a bind as the entry succeeds."""
        # Here and not by ldap3, which takes for a broken connection what RFC 4013 forbids, and knows no emoji.
        prepared = saslprep(password)  # RFC 4511 §4.2
        if not prepared or "\0" in prepared:
            return None
        entry = self._entry(address)
        if entry is None or entry[1].locked:
            return None
        name, person = entry
        with self._connection(name, prepared) as connection:
            return person if self._bound(connection) else None

    def close(self) -> None:
        """Nothing is kept open."""

    def _entry(self, address: Address) -> tuple[str, Person] | None:
        """The name of the user's entry, and who that is."""
        plan = self._plan
        with self._connection(plan.bind_dn, plan.bind_password) as connection:
            if not self._bound(connection):
                raise NoAnswer(f"the directory does not let {plan.bind_dn or 'nobody'} search: {_said(connection)}")
            found = self._search(connection, address)
        if len(found) > 1:
            raise NoAnswer(f"the directory has several users of the address {address}")
        if not found:
            return None
        name, values, locked = found[0]
        if not 0 < len(name) <= DN_LENGTH:
            raise NoAnswer("the directory has answered with an entry that has no name")
        return name, Person(tuple(sorted(value for value in values if value))[:ADDRESSES], locked)

    def _search(self, connection: Any, address: Address) -> list[tuple[str, list[str], bool]]:
        """The entries of this address, the values of their attribute, and whether they are locked; two at most."""
        plan = self._plan
        by_name = bool(plan.user_dn)
        connection.search(
            search_base=filled(plan.user_dn, address) if by_name else plan.base,
            search_filter="(objectClass=*)" if by_name else filled(plan.filter, address),
            search_scope=self._ldap3.BASE if by_name else self._ldap3.SUBTREE,
            attributes=[*filter(None, [plan.attribute]), *LOCKS],  # RFC 4511 §4.5.1.8: operational ones by name only
            size_limit=FOUND,
            time_limit=max(1, int(plan.seconds)),
        )
        code = connection.result["result"]
        if by_name and code == NO_SUCH_OBJECT:
            return []
        if code not in (SUCCESS, SIZE_LIMIT):
            raise NoAnswer(f"the directory could not search: {_said(connection)}")
        entries = [entry for entry in connection.response or () if entry.get("type") == "searchResEntry"]
        return [(str(entry["dn"]), _values(entry, plan.attribute), _locked(entry)) for entry in entries]

    def _bound(self, connection: Any) -> bool:
        """Bind; whether the server takes the name and password."""
        if connection.closed:
            raise NoAnswer("the directory has closed the connection")  # ldap3 would open another, without TLS
        if connection.bind():
            return True
        code = connection.result["result"]
        if code in REFUSED:
            return False
        raise NoAnswer(f"the directory could not check a password: {_said(connection)}")

    @contextlib.contextmanager
    def _connection(self, name: str, password: str) -> Iterator[Any]:
        """A connection that is over after `seconds`, also where the server sends an octet now and then."""
        connection = self._ldap3.Connection(
            self._server,
            user=name or None,
            password=password.encode("utf-8") or None,
            authentication=self._ldap3.SIMPLE if name else self._ldap3.ANONYMOUS,
            auto_referrals=False,
            check_names=False,
            receive_timeout=ceil(self._plan.seconds),  # whole ones; the timer below is exact
        )
        end = threading.Timer(self._plan.seconds, _cut, (connection,))
        end.daemon = True
        end.start()
        try:
            connection.open()
            if not isinstance(connection.socket, _Counted):
                connection.socket = _Counted(connection.socket)
            if self._starttls and not connection.start_tls():
                raise NoAnswer(f"the directory does not speak TLS: {_said(connection)}")
            yield connection
        except NoAnswer:
            raise
        except Exception as error:  # ldap3 has many, and what a server sends it can make others of them
            raise NoAnswer(f"the directory does not answer: {error}"[:500]) from error
        finally:
            end.cancel()
            _close(connection)


def _close(connection: Any) -> None:
    """Say goodbye, and close the socket, which ldap3 leaves open where that fails."""
    plug = connection.socket
    with contextlib.suppress(Exception):  # it is over, or was cut
        connection.unbind()
    if plug is not None:
        plug.close()


def _wrap(context: ssl.SSLContext, host: str, connection: Any, do_handshake: bool = False) -> None:
    """TLS on a connection of ldap3, with the certificate verified for the host of the settings (RFC 4513 §3.1.3)."""
    plug = connection.socket.plug if isinstance(connection.socket, _Counted) else connection.socket
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the bind waits 40 ms behind the handshake
    connection.socket = _Counted(context.wrap_socket(plug, do_handshake_on_connect=do_handshake, server_hostname=host))


def _cut(connection: Any) -> None:
    """End what a thread waits for."""
    plug = connection.socket
    if plug is not None:
        with contextlib.suppress(OSError):
            plug.shutdown(socket.SHUT_RDWR)


def _said(connection: Any) -> str:
    result = connection.result or {}
    return f"{result.get('description', '')} {result.get('message', '')}".strip()[:200]


def _locked(entry: Any) -> bool:
    return any(lock(value) for attribute, lock in LOCKS.items() for value in _values(entry, attribute))


def _values(entry: Any, attribute: str) -> list[str]:
    """The values of an attribute, whatever case its name came in."""
    found = [values for name, values in entry["attributes"].items() if name.lower() == attribute.lower()]
    flat = found[0] if found else []
    return [value for value in (flat if isinstance(flat, list) else [flat]) if isinstance(value, str)]
