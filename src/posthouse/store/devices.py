"""Device passwords: one for each program, with what it opens, until when, and when it was last used (decision 0107).

They are chance of 100 bits, so a fast digest keeps them as well as a slow one would. A user's SCRAM keys, of the
password and of all devices, have one salt, because the server's first message has room for one (RFC 5802 §7).

A user of a directory has them too; they open something as long as the directory knows the user (decision 0138).
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId, DeviceId, Millis
from posthouse.store import accounts, logins
from posthouse.store.accounts import NOWHERE, Login, ScramSecret, User, canonical, credential_of, known_as
from posthouse.store.script import Exists, NotFound, Refused, Row, Script, sql

DEVICES = 50  # of one user: more than anybody has, and each costs a comparison at every login
NAME_LENGTH = 60  # characters
SERVICES = ("imap", "pop3", "smtp")  # smtp is submission


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device password to be kept. `services` are some of SERVICES; `expires` None: never."""

    name: str
    services: frozenset[str]
    expires: Millis | None
    digest: bytes
    scram: ScramSecret
    scram_sha1: ScramSecret | None = None


class Device(NamedTuple):
    """A device password as the door sees it."""

    id: DeviceId
    name: str
    services: frozenset[str]
    expires: Millis | None
    digest: bytes
    scram: ScramSecret
    scram_sha1: ScramSecret | None = None

    def expired(self, now: Millis) -> bool:
        """Whether it opens nothing any more."""
        return self.expires is not None and self.expires <= now


class DeviceRow(NamedTuple):
    """A device password as its owner sees it. `used` is None where nobody came in by it yet."""

    name: str
    services: frozenset[str]
    made: Millis
    expires: Millis | None
    used: Millis | None
    used_ip: str
    used_service: str
    used_program: str


class Entrance(NamedTuple):
    """By what an account can be entered. `devices_only`: mail programs need a device password; `totp`: the user has a
    second factor."""

    login: Login
    devices_only: bool
    totp: bool
    devices: tuple[Device, ...]

    @property
    def elsewhere(self) -> bool:
        """Whether the user is one of a directory, which has the password."""
        return self.login.credential == NOWHERE

    @property
    def salted(self) -> ScramSecret | None:
        """Keys with the salt that all of this user have; None where a user of a directory has no device password."""
        if not self.elsewhere:
            return self.login.credential.scram_sha256
        return self.devices[-1].scram if self.devices else None


class Hold(Enum):
    """Whether a login holds."""

    NO = "no"
    YES = "yes"
    IF_KNOWN = "as long as the directory knows the user"


def find_entrance(address: Address) -> Script[Entrance | None]:
    """The user of exactly this address, and all that opens the account."""
    who = yield from known_as(address)
    if who is None:
        return None
    login = Login(*who, (yield from credential_of(who.account)) or NOWHERE)
    rows = yield sql(
        "SELECT a.devices_only, t.account, d.id, d.name, d.services, d.expires, d.digest, d.scram_salt,"
        " d.scram_iterations, d.scram_stored_key, d.scram_server_key, d.sha1_stored_key, d.sha1_server_key"
        " FROM account a LEFT JOIN totp t ON t.account = a.id LEFT JOIN device d ON d.account = a.id WHERE a.id = $1"
        " ORDER BY d.id",
        login.account,
    )
    if not rows:
        return None
    devices = tuple(_device(row[2:]) for row in rows if row[2] is not None)
    return Entrance(login, bool(rows[0][0]), rows[0][1] is not None, devices)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants to come in, as far as a stranger has said it: `address` None: no user can have that name. `networks`
    are what failures are counted for beside the name (logins.subject); `home` is the network of the client, "" where
    nothing is counted; `suspect`: this worker would not look at the login, unless the user is at home there."""

    address: Address | None
    networks: tuple[int, ...] = ()
    home: str = ""
    suspect: bool = False


class Seen(NamedTuple):
    """What is known: by what the account can be entered, None where there is none;
    whose name that is; how often logins of this user and of this domain failed in the last hour, from these networks in
    the last day; whether the user came in from there, where that matters; one spelling for all names that lead to the
    same user, or would, "" where it is no name; the domain of it where that is served here, "" elsewhere."""

    entrance: Entrance | None
    account: AccountId | None = None
    failures: int = 0
    of_domain: int = 0
    of_networks: tuple[int, ...] = ()
    at_home: bool = False
    spelled: str = ""
    domain: str = ""

    @property
    def tried(self) -> bool:
        """Whether logins of this user, of the domain or from these networks have failed of late."""
        return self.failures > 0 or self.of_domain > 0 or any(self.of_networks)


def look(asked: Asked, now: Millis) -> Script[Seen]:
    """All that the door asks the store about one login."""
    found = None if asked.address is None else (yield from find_entrance(asked.address))
    who = None if found is None else User(found.login.account, found.login.address)
    account = None if who is None else who.account
    spelled, domain = ("", "") if asked.address is None else (yield from _spelled(asked.address, who))
    seen = Seen(found, account, spelled=spelled, domain=domain)
    if not asked.home:
        return seen
    subjects = logins.subject("name", spelled), logins.subject("domain", domain)
    (failures, of_domain), of_networks = yield from logins.counted(subjects, asked.networks, now)
    seen = seen._replace(failures=failures, of_domain=of_domain, of_networks=of_networks)
    if account is None or not (asked.suspect or any(of_networks)):
        return seen
    return seen._replace(at_home=(yield from logins.at_home(account, asked.home, now)))


def _spelled(address: Address, who: User | None) -> Script[tuple[str, str]]:
    """A user's own address, whatever name was said; of nobody's name as a user would be found by it: without regard to
    case, in the domain that its domain leads to. And the domain, "" where it is not served here."""
    here = who.address if who is not None else (yield from accounts.at_home(address))
    return canonical(here or address), "" if here is None else here.domain.name


def _device(row: Row) -> Device:
    number, name, services, expires, digest, *scram = row
    salt, iterations, _, _, *sha1 = scram
    older = None if sha1[0] is None else ScramSecret(salt, iterations, *sha1)
    own = ScramSecret._make(scram[:4])
    return Device(DeviceId(number), name, frozenset(services.split()), expires, digest, own, older)


def require_user(address: Address) -> Script[User]:
    """The user who signs in by this name. Raises NotFound."""
    found = yield from known_as(address)
    if found is None:
        raise NotFound(f"there is no user {address}")
    return found


def add(address: Address, new: NewDevice, now: Millis) -> Script[None]:
    """Raises NotFound, Exists (the name), Refused (too many)."""
    account, _ = yield from require_user(address)
    rows = yield sql("SELECT name FROM device WHERE account = $1", account)
    if len(rows) >= DEVICES:
        raise Refused(f"{address} has {DEVICES} device passwords already; revoke one that is not used any more")
    if any(name.casefold() == new.name.casefold() for (name,) in rows):
        raise Exists(f"{address} has a device password of that name: {new.name}")
    yield sql(
        "INSERT INTO device (account, name, services, made, expires, digest, scram_salt, scram_iterations,"
        " scram_stored_key, scram_server_key, sha1_stored_key, sha1_server_key)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        account, new.name, " ".join(sorted(new.services)), now, new.expires, new.digest, *new.scram,
        *(new.scram_sha1 or (None,) * 4)[2:],
    )  # fmt: skip


def list_devices(address: Address) -> Script[list[DeviceRow]]:
    """In the order in which they were made. Raises NotFound."""
    account, _ = yield from require_user(address)
    rows = yield sql(
        "SELECT name, services, made, expires, used, used_ip, used_service, used_program FROM device"
        " WHERE account = $1 ORDER BY id",
        account,
    )
    return [DeviceRow(name, frozenset(services.split()), *rest) for name, services, *rest in rows]


def revoke(address: Address, name: str | None) -> Script[int]:
    """Take one device password back, or all (None): sessions that it opened end. Gives how many.
    Raises NotFound."""
    account, _ = yield from require_user(address)
    rows = yield sql("SELECT id, name FROM device WHERE account = $1", account)
    meant = [number for number, known in rows if name is None or known.casefold() == name.casefold()]
    if name is not None and not meant:
        raise NotFound(f"{address} has no device password of that name: {name}")
    for number in meant:
        yield sql("DELETE FROM device WHERE id = $1", number)
    yield from logins.sign_in_changed(account)
    return len(meant)


def set_devices_only(address: Address, *, only: bool) -> Script[None]:
    """Whether mail programs of this user need a device password. Raises NotFound, Refused (there is none)."""
    account, _ = yield from require_user(address)
    if only and not (yield sql("SELECT 1 FROM device WHERE account = $1 LIMIT 1", account)):
        raise Refused(f"{address} has no device password yet, and could sign in nowhere")
    yield sql("UPDATE account SET devices_only = $2 WHERE id = $1", account, int(only))
    yield from logins.sign_in_changed(account)


def still(login: Login, now: Millis, *, totp_demands: bool) -> Script[Hold]:
    """Whether a login holds: the account is there under this name; the device password was not revoked and has not
    expired; the password was not changed, and still opens mail, if it was what did. `totp_demands`: not that of users
    with a second factor."""
    found = yield from find_entrance(login.address)
    if found is None or (found.login.account, found.login.address) != (login.account, login.address):
        return Hold.NO
    shut = not login.vouched and (found.devices_only or (totp_demands and found.totp))
    if login.device is not None:
        good = any(device.id == login.device and not device.expired(now) for device in found.devices)
    else:
        good = not shut and same_password(found.login, login)
    if not good:
        return Hold.NO
    return Hold.IF_KNOWN if found.elsewhere else Hold.YES


def same_password(one: Login, other: Login) -> bool:
    """Whether two logins of an account are by the same password; its hash may have been renewed in between."""
    keys = one.credential.scram_sha256
    return one.credential == other.credential or (bool(keys.stored_key) and keys == other.credential.scram_sha256)
