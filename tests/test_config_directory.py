"""The section directory: what cannot be meant is said, and so is what is missing to use it."""

import sys
from pathlib import Path

import pytest

from posthouse import check
from posthouse.config import ConfigError, load, settle
from posthouse.config_directory import postgresql_plan, source_of

LDAP = {"url": "ldaps://ldap.test", "base": "dc=test"}
QUERY = "SELECT mail, hash FROM person WHERE mail = :address"
TABLE = {"url": "postgresql://posthouse@db.test/mail", "query": QUERY}


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"base": "dc=test"}, "directory.url: missing"),
        ({"url": "https://ldap.test"}, "directory.url: expected ldap://host, ldaps://host, postgresql://"),
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
        (TABLE | {"url": "postgres://posthouse@db.test/mail"}, "directory.url: expected ldap://host"),
        (TABLE | {"url": "postgresql://db.test/mail"}, "directory.url: expected postgresql://user@host/database"),
        (TABLE | {"url": "postgresql://posthouse@db.test"}, "directory.url: expected postgresql://user@host/database"),
        (TABLE | {"url": "postgresql://posthouse@/mail"}, "directory.url: expected postgresql://user@host/database"),
        (TABLE | {"url": "postgresql://u@/mail?host=db.test"}, "directory.url: expected postgresql://user@host/"),
        (TABLE | {"url": "postgresql://u@db.test/mail?host=/run"}, "directory.url: expected postgresql://user@host/"),
        (TABLE | {"url": "postgresql://u@db.test:x/mail"}, "directory.url: Port could not be cast"),
        (TABLE | {"url": "postgresql://u:word@db.test/mail"}, "directory.url: no password in it"),
        (TABLE | {"url": "postgresql://u@db.test/mail?sslmode=disable"}, "directory.url: sslmode cannot be set in it"),
        (TABLE | {"tls": "none"}, "directory.tls: passwords would cross the network in the clear"),
        (TABLE | {"url": "postgresql://u@/mail?host=/run", "tls": "verified"}, "there is no TLS on a Unix socket"),
        (TABLE | {"query": "SELECT ':address', 1"}, "directory.query: expected a SELECT with :address"),
        (TABLE | {"password": "x", "password_file": "x"}, "directory.password: there is a password_file too"),
        (TABLE | {"bind_password": "x"}, "directory.bind_password: this is for LDAP"),
        (LDAP | {"password": "x"}, "directory.password: this is for postgresql://"),
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


@pytest.mark.parametrize(
    ("url", "tls", "verified"),
    [
        ("postgresql://u@db.test/mail", None, True),
        ("postgresql://u@db.test/mail", "verified", True),
        ("postgresql://u@localhost/mail", None, False),
        ("postgresql://u@localhost/mail", "verified", True),
        ("postgresql://u@127.0.0.1:5433/mail", "none", False),
        ("postgresql://u@[::1]/mail", None, False),
        ("postgresql://u@192.0.2.1/mail", None, True),
        ("postgresql://u%40x@/mail?host=/run/postgresql", None, False),
    ],
)
def test_tls_is_verified_unless_the_database_is_here(url: str, tls: str | None, verified: bool) -> None:
    section = TABLE | {"url": url} | ({"tls": tls} if tls else {})
    plan = postgresql_plan(settle({"directory": section}).directory)
    assert plan.tls is verified
    assert plan.port == (5433 if "5433" in url else 5432)
    assert plan.user == ("u@x" if "%40" in url else "u")
    assert plan.host in url


def test_the_password_of_a_database(tmp_path: Path) -> None:
    """From a file, or from the environment."""
    file = tmp_path / "posthouse.toml"
    file.write_text(f'[directory]\nurl = "{TABLE["url"]}"\nquery = "{QUERY}"\npassword_file = "word"\n')
    assert load(file).directory.password_file == str(tmp_path / "word")
    with pytest.raises(ValueError, match=r"directory.password_file: .*word: No such file"):
        source_of(load(file).directory)
    (tmp_path / "word").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"directory.password_file: .*word: it is no text"):
        source_of(load(file).directory)
    file.write_text(file.read_text().replace('password_file = "word"\n', ""))
    there = load(file, {"POSTHOUSE__DIRECTORY__PASSWORD": "of the environment"})
    assert there.directory.password == "of the environment"


def test_check_says_what_is_missing_for_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settle({"data": str(tmp_path / "data"), "directory": TABLE | {"url": "postgresql://u@localhost:1/mail"}})
    said = check.problems(settings)
    assert "directory: postgresql://u@localhost:1/mail: it cannot be reached (Connection refused)" in said
    with pytest.raises(ValueError, match=r"directory.authorities: .*ca.pem: No such file"):
        source_of(settle({"directory": TABLE | {"authorities": str(tmp_path / "ca.pem")}}).directory)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    assert any("pip install 'posthouse[postgresql]'" in one for one in check.problems(settings))
