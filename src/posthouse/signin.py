"""Ways to sign in, from the command line: device passwords, the second factor, and who came in, also while the server
runs."""

import json
import re
import time
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from posthouse import elsewhere
from posthouse.admin import Refused, address_of, nobody, show
from posthouse.config_directory import DirectorySection
from posthouse.mail.address import Address
from posthouse.mail.ids import Millis
from posthouse.serve.factor import new_recovery_codes, new_secret, recovery_digest
from posthouse.serve.login import load_secret
from posthouse.serve.passwords import device_digest, device_scram, first_salt, new_device_password
from posthouse.store import accounts, devices, directory_users, logins, totp
from posthouse.store.accounts import ScramSecret, User
from posthouse.store.devices import NAME_LENGTH, SERVICES, DeviceRow, NewDevice
from posthouse.store.logins import Told
from posthouse.store.moment import format_minute, wall_clock
from posthouse.store.store import SyncStore
from posthouse.trust.totp import base32, uri
from posthouse.wire.scram import Hash

_SPAN = re.compile(r"(\d{1,5})\s*(h|d|w|y)\Z")
_SECONDS = {"h": 3_600, "d": 86_400, "w": 604_800, "y": 365 * 86_400}


def person(store: SyncStore, name: str) -> User:
    """The user that is meant, by any name that logs in. Raises Refused."""
    address = address_of(name)
    found = store.read(accounts.known_as, address)
    if found is None:
        raise nobody(store, address)
    return found


def services_of(text: str) -> frozenset[str]:
    """`imap,smtp`. Raises Refused."""
    names = {name.strip().lower() for name in text.split(",") if name.strip()}
    unknown = sorted(names - set(SERVICES))
    if unknown:
        raise Refused(f"{unknown[0]!r} is no protocol; there are {', '.join(SERVICES)}")
    if not names:
        raise Refused(f"name at least one protocol: {', '.join(SERVICES)}")
    return frozenset(names)


def expiry(text: str | None, now: Millis) -> Millis | None:
    """The moment that `90d`, `12h`, `52w` from now or `2027-01-31` (its beginning) means. Raises Refused."""
    if text is None:
        return None
    found = _SPAN.match(text.strip().lower())
    if found is not None and not int(found[1]):
        raise Refused(f"{text} from now is over already")
    if found is not None:
        return Millis(now + int(found[1]) * _SECONDS[found[2]] * 1000)
    try:
        moment = Millis(int(time.mktime(time.strptime(text.strip(), "%Y-%m-%d"))) * 1000)
    except (ValueError, OverflowError):
        raise Refused(f"{text!r} is no time; say 90d, 12h, 52w, 1y or a day such as 2027-01-31") from None
    if moment <= now:
        raise Refused(f"{text} is over already")
    return moment


def _device_name(text: str) -> str:
    name = unicodedata.normalize("NFC", text.strip())
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise Refused(f"the name of a device password has 1 to {NAME_LENGTH} characters that can be printed")
    return name


@dataclass(frozen=True, slots=True)
class Wish:
    """A device password as somebody wants it: what the user calls it, what it opens, until when."""

    name: str
    protocols: str
    expires: str | None


def add_device(store: SyncStore, user: str, wish: Wish, section: DirectorySection | None) -> None:
    """posthouse user device add. `section`: the directory of the settings; None where no settings were read."""
    now, password = wall_clock(), new_device_password()
    digest = device_digest(password.encode())
    assert digest is not None
    name, services, end = _device_name(wish.name), services_of(wish.protocols), expiry(wish.expires, now)
    account, address = elsewhere.user_of(store, address_of(user), section)
    own = _salt_of(store, address)
    scram, scram_sha1 = device_scram(password, own), device_scram(password, own, Hash.SHA1)
    new = NewDevice(name, services, end, digest, scram, scram_sha1)
    store.run(devices.add, address, new, now)
    print(f"Device password of {address} for {new.name} ({', '.join(sorted(new.services))}), shown only now:")
    print(f"\n    {password}\n")
    print(f"The user name stays {address}. Type it with its hyphens. It ends {_until(new.expires)}.")
    if store.read(directory_users.of_directory, account):
        print(elsewhere.what_it_opens(address, section))


def _salt_of(store: SyncStore, address: Address) -> ScramSecret:
    """Keys with the salt that those of a user's passwords have, or will have."""
    entrance = store.read(devices.find_entrance, address)
    if entrance is not None and entrance.salted is not None:
        return entrance.salted
    return first_salt(address, load_secret(store.directory))


def _until(expires: Millis | None) -> str:
    return "when it is revoked" if expires is None else f"on {format_minute(expires)}, or when it is revoked"


def _iso(at: Millis | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at / 1000).astimezone().isoformat(timespec="seconds")


def list_devices(store: SyncStore, user: str, *, as_json: bool) -> None:
    """posthouse user device list."""
    rows = store.read(devices.list_devices, person(store, user).address)
    if as_json:
        print(json.dumps([_device_json(row) for row in rows], indent=2, ensure_ascii=False))
        return
    now = wall_clock()
    table = [
        (row.name, ", ".join(sorted(row.services)), format_minute(row.made), _ends(row, now), _last_use(row))
        for row in rows
    ]
    show(("device", "protocols", "made", "expires", "last_use"), table, as_json=False)


def _ends(row: DeviceRow, now: Millis) -> str:
    if row.expires is None:
        return "never"
    return f"{format_minute(row.expires)}{' (over)' if row.expires <= now else ''}"


def _last_use(row: DeviceRow) -> str:
    if row.used is None:
        return "never"
    how = " ".join(filter(None, (row.used_service, row.used_program)))
    return f"{format_minute(row.used)} from {row.used_ip or 'this machine'}, {how}"


def _device_json(row: DeviceRow) -> dict[str, object]:
    used = {"at": _iso(row.used), "ip": row.used_ip, "protocol": row.used_service, "program": row.used_program}
    return {
        "device": row.name,
        "protocols": sorted(row.services),
        "made": _iso(row.made),
        "expires": _iso(row.expires),
        "last_use": used if row.used is not None else None,
    }


def revoke_device(store: SyncStore, user: str, name: str | None) -> None:
    """posthouse user device revoke."""
    address = person(store, user).address
    if name is not None:
        store.run(devices.revoke, address, name)
        print(f"Revoked the device password {name} of {address}; sessions that it opened end.")
        return
    number = store.run(devices.revoke, address, None)
    print(f"Revoked {number} device passwords of {address}; sessions that they opened end.")


def set_devices_only(store: SyncStore, user: str, *, only: bool) -> None:
    """posthouse user device only."""
    address = person(store, user).address
    store.run(devices.set_devices_only, address, only=only)
    what = "only a device password" if only else "their password and every device password"
    print(f"{address} signs in to mail programs with {what}.")


# --- the second factor


def enable_totp(store: SyncStore, user: str, issuer: str) -> None:
    """posthouse user totp enable."""
    account, address = person(store, user)
    if store.read(totp.find, account) is not None:
        raise Refused(f"{address} has a second factor; it ends first by: posthouse user totp disable {address}")
    secret, codes = new_secret(), new_recovery_codes()
    store.run(totp.enable, address, secret, [recovery_digest(code) for code in codes], wall_clock())
    print(f"Second factor of {address}, shown only now. For an authenticator app:\n")
    print(f"    {uri(secret, issuer, str(address))}\n")
    print(f"or typed: {base32(secret)} (by time, 6 digits, 30 seconds).\n")
    print("Codes for who has lost the app, each good once:\n")
    print("\n".join(f"    {code}" for code in codes))
    print("\nNothing asks for them yet: they are for the administrator's pages, which are to come, and never for mail")
    print("programs. Where login.totp_wants_devices is set, those of this user need a device password from now on.")


def disable_totp(store: SyncStore, user: str) -> None:
    """posthouse user totp disable."""
    address = person(store, user).address
    if not store.run(totp.disable, address):
        raise Refused(f"{address} has no second factor")
    print(f"{address} has no second factor any more; its codes are gone too.")


# --- who came in


def tell_logins(store: SyncStore, user: str, since: Millis, *, failed: bool, as_json: bool) -> None:
    """posthouse user logins."""
    rows = store.read(logins.list_visits, person(store, user).account, since, failed=failed)
    if as_json:
        print(json.dumps([_visit_json(row) for row in rows], indent=2, ensure_ascii=False))
        return
    table = [_visit_row(row) for row in rows]
    show(("when", "from", "service", "by", "program", "tls", "result"), table, as_json=False)


def _visit_row(row: Told) -> tuple[str, ...]:
    visit, times = row
    when = format_minute(times.last)
    if times.logins > 1:
        first = format_minute(times.first)
        when = first if first == when else f"{first} - {time.strftime('%H:%M', time.localtime(times.last / 1000))}"
    how = f"{visit.mechanism}{f' ({visit.device})' if visit.device else ''}"
    result = f"refused: {visit.refused}" if visit.refused else "came in"
    many = f", {times.logins} times" if times.logins > 1 else ""
    return when, _where(visit.ip), visit.service, how, visit.program or "-", visit.tls or "no", f"{result}{many}"


def _where(ip: str) -> str:
    return ip or "many addresses"


def _visit_json(row: Told) -> dict[str, object]:
    visit, times = row
    return {
        "first": _iso(times.first),
        "last": _iso(times.last),
        "times": times.logins,
        "ip": visit.ip or None,
        "service": visit.service,
        "mechanism": visit.mechanism,
        "device": visit.device or None,
        "program": visit.program or None,
        "tls": visit.tls or None,
        "result": "refused" if visit.refused else "came in",
        "reason": visit.refused or None,
    }
