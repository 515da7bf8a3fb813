"""`posthouse user device`, `totp` and `logins`: what they print, and what they refuse."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Said, answer
from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import Millis
from posthouse.serve.passwords import device_digest
from posthouse.signin import expiry
from posthouse.store import devices, logins, totp
from posthouse.store.logins import Batch, Times, Used, Visit
from posthouse.store.moment import wall_clock
from posthouse.store.store import SyncStore, open_sync

ANNA = "anna@home.test"
_PASSWORD = re.compile(r"^    ((?:[a-z2-9]{4}-){4}[a-z2-9]{4})$", re.MULTILINE)

Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str, text: str = "") -> Said:
        return answer([*words, "--data", str(tmp_path)], text, capsys, monkeypatch)

    assert command("domain", "add", "home.test").status == 0
    assert command("user", "add", ANNA, "--password-stdin", text="secret\n").status == 0
    return command


def entrance(store: SyncStore) -> devices.Entrance:
    found = store.read(devices.find_entrance, Address("anna", Domain("home.test")))
    assert found is not None
    return found


def test_a_device_password_is_shown_once(run: Run, tmp_path: Path) -> None:
    said = run("user", "device", "add", ANNA, "Laptop", "--protocols", "imap, smtp", "--expires", "90d")
    found = _PASSWORD.search(said.out)
    assert found is not None
    with open_sync(tmp_path) as store:
        [device] = entrance(store).devices
        assert device.digest == device_digest(found[1].encode())
        at = wall_clock()
        store.run(logins.record, Batch(used=[Used(device.id, at, "192.0.2.1", "imap", "Thunderbird")]))
    [row] = json.loads(run("user", "device", "list", ANNA, "--json").out)
    assert row["device"] == "Laptop"
    assert row["protocols"] == ["imap", "smtp"]
    assert row["expires"] > row["made"]
    assert (row["last_use"]["ip"], row["last_use"]["program"]) == ("192.0.2.1", "Thunderbird")
    assert run("user", "device", "add", ANNA, "Phone").status == 0
    table = run("user", "device", "list", ANNA).out
    assert found[1] not in table
    assert "from 192.0.2.1, imap Thunderbird" in table
    assert re.search(r"Phone +imap, pop3, smtp +\S+ \S+ +never +never", table)
    assert run("user", "device", "revoke", ANNA, "phone").status == 0
    assert "Revoked 1 device passwords" in run("user", "device", "revoke", ANNA, "--all").out
    assert run("user", "device", "list", ANNA).out == "There are none.\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("add", "ben@home.test", "x"), "there is no user ben@home.test"),
        (("add", ANNA, "x", "--protocols", "imap,ftp"), "'ftp' is no protocol; there are imap, pop3, smtp"),
        (("add", ANNA, "x", "--protocols", ","), "name at least one protocol"),
        (("add", ANNA, "x", "--expires", "soon"), "'soon' is no time; say 90d"),
        (("add", ANNA, "x", "--expires", "2001-01-01"), "2001-01-01 is over already"),
        (("add", ANNA, "x", "--expires", "0d"), "0d from now is over already"),
        (("add", ANNA, "with\nline"), "1 to 60 characters"),
        (("add", ANNA, "x" * 61), "1 to 60 characters"),
        (("revoke", ANNA, "x"), "has no device password of that name: x"),
        (("revoke", ANNA), "name a device password, or say --all"),
        (("revoke", ANNA, "x", "--all"), "name a device password, or say --all"),
        (("only", ANNA), "has no device password yet, and could sign in nowhere"),
    ],
)
def test_refusals_say_why(run: Run, words: tuple[str, ...], reason: str) -> None:
    said = run("user", "device", *words)
    assert said.status == 1
    assert reason in said.err


def test_names_of_devices_are_used_once_and_they_are_bounded(run: Run, tmp_path: Path) -> None:
    assert run("user", "device", "add", ANNA, "Phone").status == 0
    assert "has a device password of that name: phone" in run("user", "device", "add", ANNA, "phone").err
    with open_sync(tmp_path) as store:
        [kept] = entrance(store).devices
        address = Address("anna", Domain("home.test"))
        for number in range(1, devices.DEVICES):
            new = devices.NewDevice(f"d{number}", kept.services, None, kept.digest, kept.scram)
            store.run(devices.add, address, new, wall_clock())
    assert "has 50 device passwords already" in run("user", "device", "add", ANNA, "one more").err


def test_devices_only(run: Run, tmp_path: Path) -> None:
    run("user", "device", "add", ANNA, "Phone")
    assert run("user", "device", "only", ANNA).out == f"{ANNA} signs in to mail programs with only a device password.\n"
    with open_sync(tmp_path) as store:
        assert entrance(store).devices_only
    assert run("user", "device", "only", ANNA, "--off").status == 0
    with open_sync(tmp_path) as store:
        assert not entrance(store).devices_only


def test_a_new_password_keeps_the_salt_that_devices_share(run: Run, tmp_path: Path) -> None:
    """RFC 5802 §7: the server's first message has room for one."""
    with open_sync(tmp_path) as store:
        before = entrance(store).login.credential
    run("user", "password", ANNA, "--password-stdin", text="other")
    with open_sync(tmp_path) as store:
        after = entrance(store).login.credential
    assert before.scram_sha256.salt == after.scram_sha256.salt
    assert before.scram_sha256.stored_key != after.scram_sha256.stored_key


def test_a_second_factor(run: Run, tmp_path: Path) -> None:
    said = run("user", "totp", "enable", ANNA, "--issuer", "Home")
    assert "otpauth://totp/Home:anna@home.test?secret=" in said.out
    assert "Nothing asks for them yet" in said.out
    assert len(re.findall(r"^    [a-z2-9]{5}-[a-z2-9]{5}$", said.out, re.MULTILINE)) == 8
    with open_sync(tmp_path) as store:
        found = entrance(store)
        factor = store.read(totp.find, found.login.account)
        assert found.totp
        assert factor is not None
        assert (len(factor.secret), factor.recovery) == (20, 8)
    again = run("user", "totp", "enable", ANNA)
    assert (again.status, again.out) == (1, "")
    assert "posthouse user totp disable anna@home.test" in again.err
    assert run("user", "totp", "disable", ANNA).status == 0
    assert "has no second factor" in run("user", "totp", "disable", ANNA).err


def test_logins(run: Run, tmp_path: Path) -> None:
    at = wall_clock()
    with open_sync(tmp_path) as store:
        account = entrance(store).login.account
        came = Visit(account, "192.0.2.1", "imap", "PLAIN", "Thunderbird", "TLSv1.3 AES", "Laptop", "")
        tried = Visit(account, "", "pop3", "USER", "", "", "", "wrong password")
        old = Times(Millis(at - 9 * logins.DAY), Millis(at - 9 * logins.DAY), 1)
        visits = [(tried, Times(Millis(at - 60_000), at, 300)), (came, Times(at, at, 1)), (came, old)]
        store.run(logins.record, Batch(visits))
    table = run("user", "logins", ANNA).out
    assert re.search(r"many addresses +pop3 +USER +- +no +refused: wrong password, 300 times", table)
    assert re.search(r"192\.0\.2\.1 +imap +PLAIN \(Laptop\) +Thunderbird +TLSv1\.3 AES +came in", table)
    assert len(table.splitlines()) == 3
    [row] = json.loads(run("user", "logins", ANNA, "--failed", "--json").out)
    assert (row["times"], row["ip"], row["result"], row["reason"]) == (300, None, "refused", "wrong password")
    assert len(json.loads(run("user", "logins", ANNA, "--since", "10d", "--json").out)) == 3
    assert run("user", "logins", ANNA, "--since", "ever").status == 1
    with open_sync(tmp_path) as store:
        minute = Millis(at - at % 60_000)
        visit = Visit(account, "192.0.2.9", "imap", "LOGIN", "", "", "", "")
        store.run(logins.record, Batch([(visit, Times(Millis(minute + 1_000), Millis(minute + 9_000), 2))]))
    [line] = [line for line in run("user", "logins", ANNA).out.splitlines() if "192.0.2.9" in line]
    assert re.match(r"\S+ \d\d:\d\d +192\.0\.2\.9 ", line)  # both in one minute
    assert run("user", "logins", "ben@home.test").status == 1


def test_when_a_device_password_ends() -> None:
    assert expiry(None, Millis(0)) is None
    assert expiry("2h", Millis(0)) == 7_200_000
    assert expiry("1y", Millis(0)) == 365 * 86_400_000
    assert (expiry("2027-01-31", Millis(0)) or 0) > 1_800_000_000_000
