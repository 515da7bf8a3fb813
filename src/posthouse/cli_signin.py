"""The command line: `posthouse user device`, `posthouse user totp`, `posthouse user logins`."""

from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli_parts import HERE, Json, Place, directory_of, do, fail

device_app = App(name="device", help="Device passwords: one for each mail program of a user.")
totp_app = App(name="totp", help="The second factor of a user, for the administrator's pages to come.")


@device_app.command(name="add")
def device_add(
    user: str, device: str, /, *, protocols: str = "imap,pop3,smtp", expires: str | None = None, place: Place = HERE
) -> int:
    """Make a password for one mail program, and show it once.

    Parameters
    ----------
    device
        What the user calls it, such as "Thunderbird on the laptop".
    protocols
        What it opens: some of imap, pop3, smtp.
    expires
        When it ends: 90d, 12h, 52w, 1y from now, or a day such as 2027-01-31.
    """
    from posthouse import signin

    wish, section = signin.Wish(device, protocols, expires), directory_of(place)
    return do(place, lambda store: signin.add_device(store, user, wish, section))


@device_app.command(name="list")
def device_list(user: str, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """List a user's device passwords: what they open, until when, and when they were last used."""
    from posthouse import signin

    return do(place, lambda store: signin.list_devices(store, user, as_json=as_json))


@device_app.command(name="revoke")
def device_revoke(
    user: str,
    device: str | None = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    place: Place = HERE,
) -> int:
    """Take a device password back; sessions that it opened end.

    Parameters
    ----------
    every
        All of the user.
    """
    from posthouse import signin

    if (device is None) != every:
        return fail("name a device password, or say --all")
    return do(place, lambda store: signin.revoke_device(store, user, device))


@device_app.command(name="only")
def device_only(user: str, /, *, off: bool = False, place: Place = HERE) -> int:
    """Let a user sign in to mail programs by device passwords only.

    Parameters
    ----------
    off
        Let the user's own password in again.
    """
    from posthouse import signin

    return do(place, lambda store: signin.set_devices_only(store, user, only=not off))


@totp_app.command(name="enable")
def totp_enable(user: str, /, *, issuer: str = "Posthouse", place: Place = HERE) -> int:
    """Give a user a second factor; shows the secret and the recovery codes once. Nothing asks for it yet.

    Parameters
    ----------
    issuer
        What the authenticator app calls this server.
    """
    from posthouse import signin

    return do(place, lambda store: signin.enable_totp(store, user, issuer))


@totp_app.command(name="disable")
def totp_disable(user: str, /, *, place: Place = HERE) -> int:
    """Take the second factor of a user away."""
    from posthouse import signin

    return do(place, lambda store: signin.disable_totp(store, user))


def user_logins(
    user: str,
    /,
    *,
    since: str = "7d",
    failed: Annotated[bool, Parameter(negative=())] = False,
    place: Place = HERE,
    as_json: Json = False,
) -> int:
    """Say who came in as a user, and who tried: when, from where, with which program.

    Parameters
    ----------
    since
        How far back to look: 2h, 30min, 7d or a day such as 2026-11-26.
    failed
        Only those that were refused.
    """
    from posthouse import signin
    from posthouse.trace import period

    when = period(since)
    if when is None:
        return fail(f"{since!r} is no time; say 2h, 30min, 7d or a day such as 2026-11-26")
    return do(place, lambda store: signin.tell_logins(store, user, when.since, failed=failed, as_json=as_json))
