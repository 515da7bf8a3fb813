"""The section directory: what cannot be meant is said, and so is what is missing to use it."""

import sys
from pathlib import Path

import pytest

from posthouse import check
from posthouse.config import ConfigError, settle
from posthouse.config_directory import source_of

LDAP = {"url": "ldaps://ldap.test", "base": "dc=test"}


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"base": "dc=test"}, "directory.url: missing"),
        ({"url": "https://ldap.test"}, "directory.url: expected ldap://host, ldaps://host or sqlite:file"),
        ({"url": "ldap:///dc=test", "base": "dc=test"}, "directory.url: expected ldap://host or ldaps://host"),
        ({"url": "ldap://ldap.test:x", "base": "dc=test"}, "directory.url: expected ldap://host or ldaps://host"),
        (
            {"url": "ldap://ldap.test", "base": "dc=test", "tls": "none"},
            "passwords would cross the network in the clear",
        ),
        ({"url": "ldaps://ldap.test"}, "directory.base: missing"),
        (LDAP | {"filter": "(objectClass=person)"}, "directory.filter: it must have {address}, or {local}, in it"),
        (LDAP | {"filter": "(uid={local})(x={user})"}, "directory.filter: {user} is unknown"),
        (LDAP | {"user_dn": "cn=admin,dc=test"}, "directory.user_dn: it must have {address}, or {local}, in it"),
        (LDAP | {"bind_dn": "cn=posthouse"}, "directory.bind_password: missing"),
        (
            LDAP | {"bind_dn": "cn=x", "bind_password": "x", "bind_password_file": "x"},
            "directory.bind_password: there is a bind_password_file too",
        ),
        ({"url": "sqlite:"}, "directory.url: the file is missing"),
        ({"url": "sqlite:users.db", "query": "SELECT 1, 2"}, "directory.query: expected a SELECT with :address"),
        (LDAP | {"seconds": 0}, "directory.seconds: expected a number above 0"),
        (LDAP | {"seconds": 61}, "directory.seconds: expected a number of at most 60"),
    ],
)
def test_what_cannot_be_meant(section: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settle({"directory": section})
    assert any(reason in problem for problem in refused.value.problems), refused.value.problems


def test_files_begin_at_the_folder_of_the_settings() -> None:
    found = settle(
        {"directory": LDAP | {"bind_dn": "x", "bind_password_file": "word", "authorities": "ca.pem"}}, Path("/etc")
    )
    assert (found.directory.bind_password_file, found.directory.authorities) == ("/etc/word", "/etc/ca.pem")
    table = {"url": "sqlite:users.db", "query": "SELECT :address, 1"}
    assert settle({"directory": table}, Path("/etc")).directory.url == "sqlite:/etc/users.db"


def test_check_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = {"data": str(tmp_path / "data")}
    said = check.problems(settle(quiet | {"directory": LDAP | {"bind_dn": "x", "bind_password_file": "/nowhere/x"}}))
    assert "directory.bind_password_file: /nowhere/x: No such file or directory" in said
    table = {"url": f"sqlite:{tmp_path}/none.db", "query": "SELECT :address, 1"}
    said = check.problems(settle(quiet | {"directory": table}))
    assert any("none.db cannot be asked" in one for one in said)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ldap3", None)
        with pytest.raises(ValueError, match=r"pip install 'posthouse\[ldap\]'"):
            source_of(settle({"directory": LDAP}).directory)
        assert any("pip install" in one for one in check.problems(settle(quiet | {"directory": LDAP})))


def test_authorities_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(ValueError, match=r"directory.authorities: .*ca.pem: No such file"):
        source_of(settle({"directory": LDAP | {"authorities": str(path)}}).directory)
    path.write_text("nothing", "ascii")
    with pytest.raises(ValueError, match=r"directory.authorities: .*ca.pem: it holds no certificates"):
        source_of(settle({"directory": LDAP | {"authorities": str(path)}}).directory)
