"""Settings: defaults, spellings, the environment, and a sentence for each mistake."""

import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse import check, start
from posthouse.config import ConfigError, load, parse_listen, settle
from posthouse.config_login import ClientAuthorities, Provider
from posthouse.config_octets import parse_octets
from posthouse.config_out import Route, Source
from posthouse.config_quota import rules_of
from posthouse.config_sections import (
    Certificate,
    DnsSection,
    ImapSection,
    LinkSection,
    Listen,
    MessageSection,
    Octets,
    PeerSection,
    SessionSection,
    Settings,
    StressSection,
    WorkerSection,
)
from posthouse.net import authority
from posthouse.net.dns import DnsLimits
from posthouse.net.link import LinkLimits
from posthouse.serve.limits import ImapSessionLimits, PeerLimits, SessionLimits, WorkerLimits
from posthouse.serve.stress import StressLimits
from posthouse.store.quota import LARGEST, Limits, Rules
from posthouse.transport.house import MessageLimits

DOCUMENT = Path(__file__).parent.parent / "docs" / "operate" / "settings.md"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settle(tomllib.loads(text))
    return caught.value.problems


def names(kind: type[msgspec.Struct], prefix: str = "") -> list[str]:
    found = []
    for field in msgspec.structs.fields(kind):
        inner = field.type
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found += names(inner, f"{prefix}{field.name}.")
        else:
            found.append(prefix + field.name)
    return found


def test_an_empty_file_is_a_server() -> None:
    settings = settle({})
    assert settings.smtp.listen == (Listen("*", 25),)
    assert settings.workers >= 1
    assert settings.hostname
    assert settings.folder.is_absolute()
    assert settings.limits.message.message_size == 50 * 1024 * 1024


@pytest.mark.parametrize(
    ("section", "plain"),
    [
        (MessageSection, MessageLimits),
        (PeerSection, PeerLimits),
        (SessionSection, SessionLimits),
        (ImapSection, ImapSessionLimits),
        (LinkSection, LinkLimits),
        (WorkerSection, WorkerLimits),
        (StressSection, StressLimits),
        (DnsSection, DnsLimits),
    ],
)
def test_limits_are_those_of_the_rooms_with_the_same_defaults(section: type[msgspec.Struct], plain: type) -> None:
    ours = msgspec.structs.asdict(section())
    theirs = {field.name: field.default for field in dataclasses.fields(plain)}
    assert ours == theirs


def test_every_setting_is_documented_and_nothing_else() -> None:
    rows = re.findall(r"^\| `([\w.]+(?:\[\]\.\w+)?)` \|", DOCUMENT.read_text(), re.MULTILINE)
    lists = {"tls.certificates": Certificate, "relay.routes": Route, "sending.sources": Source}
    lists |= {"login.providers": Provider, "login.certificates": ClientAuthorities}
    inside = [f"{name}[].{field}" for name, kind in lists.items() for field in names(kind)]
    assert sorted(rows) == sorted([*names(Settings), *inside])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hostnam = 'x'", "hostnam: unknown setting; did you mean hostname?"),
        ("[smtp]\nlsten = [25]", "smtp.lsten: unknown setting; did you mean smtp.listen?"),
        ("zzz = 1", "zzz: unknown setting; known here: hostname, data"),
        ("workers = 0", "workers: expected a whole number of at least 1, got 0"),
        ("workers = 1000", "workers: expected a whole number of at most 256, got 1000"),
        ("workers = 'two'", 'workers: expected a whole number, got "two"'),
        ("workers = true", "workers: expected a whole number, got true"),
        ("drain_seconds = 0", "drain_seconds: expected a number above 0"),
        ("drain_seconds = inf", "drain_seconds: expected a number of at most"),
        ("hostname = 'a b'", "hostname: expected a host name such as mail.example.org"),
        ("smtp = 25", "smtp: expected a table, got 25"),
        ("[smtp]\nlisten = 25", "smtp.listen: expected a list, got 25"),
        ("[smtp]\nlisten = [25, 70000]", "smtp.listen[1]: expected a port (1 to 65535)"),
        ("[imap]\nlisten_tls = ['a:b']", 'imap.listen_tls[0]: expected a port (1 to 65535), "address:port"'),
        ("[log]\nlevel = 'loud'", "log.level: expected one of debug, info, warning, error"),
        ("[limits.message]\nmessage_size = 0", 'limits.message.message_size: expected octets, such as "50 MiB"'),
        ("[limits.peer]\nsmtp_connections = 0", "limits.peer.smtp_connections: expected a whole number of at least 1"),
        ("[[tls.certificates]]\ncertificate = 'a'", "tls.certificates[0].key: missing"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, sentence: str) -> None:
    [problem] = problems(text)
    assert problem.startswith(sentence)


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems("hostnam = 'x'\nworkers = 0\n[smtp]\nlisten = [0]")) == 3


KEYS = sorted({word for name in names(Settings) for word in name.split(".")})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names(Settings)), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_nothing_but_config_error_is_raised(value: object) -> None:
    for name in ("hostname", "workers", "smtp", "tls", "limits", "drain_seconds", "log"):
        with contextlib.suppress(ConfigError):
            assert isinstance(settle({name: value}), Settings)


@pytest.mark.parametrize(
    ("value", "octets"),
    [(1, 1), ("50 MiB", 50 << 20), ("10MB", 10_000_000), ("3 kib", 3072), ("7", 7), ("1 GiB", 1 << 30)],
)
def test_sizes(value: object, octets: int) -> None:
    assert parse_octets(value) == Octets(octets)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "", "0", "0 MiB", "MiB", "5 miles", "-5", None, []])
def test_what_is_no_size(value: object) -> None:
    assert parse_octets(value) is None


@given(st.text() | st.integers())
def test_a_place_to_listen_prints_as_it_is_read(value: str | int) -> None:
    where = parse_listen(value)
    if where is not None:
        assert parse_listen(str(where)) == where


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (25, Listen("*", 25)),
        ("25", None),
        ("127.0.0.1:25", Listen("127.0.0.1", 25)),
        ("[::1]:25", Listen("::1", 25)),
        ("*:25", Listen("*", 25)),
        (":25", Listen("*", 25)),
        ("unix:run/x", Listen(path="run/x")),
        ("unix:", None),
        ("::1:25", None),
        ("a:0", None),
        ("a:65536", None),
        (True, None),
    ],
)
def test_places_to_listen(value: object, where: Listen | None) -> None:
    assert parse_listen(value) == (where or (Listen("*", 25) if value == "25" else None))


def test_paths_begin_at_the_file(tmp_path: Path) -> None:
    file = tmp_path / "posthouse.toml"
    file.write_text('data = "mail"\n[[tls.certificates]]\ncertificate = "a.pem"\nkey = "/etc/b.key"\n')
    settings = load(file, {})
    assert settings.folder == tmp_path / "mail"
    [certificate] = settings.tls.certificates
    assert (certificate.certificate, certificate.key) == (str(tmp_path / "a.pem"), "/etc/b.key")


def test_the_environment_overrides(tmp_path: Path) -> None:
    file = tmp_path / "posthouse.toml"
    file.write_text("workers = 3\n[smtp]\nlisten = [25]\n")
    settings = load(
        file,
        {
            "POSTHOUSE__SMTP__LISTEN": "[2525]",
            "POSTHOUSE__LOG__LEVEL": "debug",
            "POSTHOUSE__HOSTNAME": "a.test",
            "X": "1",
        },
    )
    assert settings.smtp.listen == (Listen("*", 2525),)
    assert (settings.log.level, settings.hostname, settings.workers) == ("debug", "a.test", 3)
    with pytest.raises(ConfigError, match=r"workers is not a table"):
        load(file, {"POSTHOUSE__WORKERS__X": "1"})
    with pytest.raises(ConfigError, match=r"posthouse\.toml: log\.levle: unknown setting; did you mean log\.level"):
        load(file, {"POSTHOUSE__LOG__LEVLE": "debug"})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        load(tmp_path / "nowhere.toml", {})
    file = tmp_path / "bad.toml"
    file.write_text("a = = b")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML: .*line 1"):
        load(file, {})
    file.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(octet 6\)"):
        load(file, {})
    file.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match=r"larger than a settings file"):
        load(file, {})


def test_check_names_what_would_not_work(tmp_path: Path) -> None:
    settings = settle(
        {
            "hostname": "mail",
            "data": str(tmp_path / "data"),
            "user": "nobody-has-this-name",
            "smtp": {"listen": [25]},
            "imap": {"listen": [25], "withheld": ["UIDONLY", "IMAP4rev1"]},
            "tls": {"certificates": [{"certificate": str(tmp_path / "a.pem"), "key": str(tmp_path / "a.key")}]},
        }
    )
    found = "\n".join(check.problems(settings))
    assert "imap: *:25 is used by smtp already" in found
    assert found.count("imap.withheld: ") == 1
    assert "imap.withheld: IMAP4rev1 is no capability that can be withheld" in found
    assert "user: this machine has no user nobody-has-this-name" in found
    assert f"tls.certificates[0]: {tmp_path / 'a.pem'}: No such file" in found
    assert any("no full name" in sentence for sentence in check.advice(settings))


def test_check_compares_names_with_certificates(tmp_path: Path) -> None:
    files = authority.self_signed(tmp_path, "mail.example.org")
    pair = {"certificate": str(files.certificate), "key": str(files.key)}
    table = {"data": str(tmp_path / "data"), "tls": {"certificates": [pair]}, "user": "root"}
    assert check.problems(settle(table)) == []
    assert check.advice(settle({**table, "hostname": "mail.example.org"})) == []
    [sentence] = check.advice(settle({**table, "hostname": "smtp.example.org"}))
    assert "no certificate is for smtp.example.org; they are for mail.example.org" in sentence


def test_check_tries_the_data_directory(tmp_path: Path) -> None:
    def said(data: str) -> str:
        return "\n".join(check.problems(settle({"data": data})))

    assert "data: nothing can be written to /proc: " in said("/proc/x")
    (tmp_path / "thesis.txt").write_text("years of work")
    assert f"data: {tmp_path} is not empty, and no data directory of Posthouse" in said(str(tmp_path))
    assert "is not a directory" in said(str(tmp_path / "thesis.txt"))
    assert said(str(tmp_path / "new" / "data")) == ""
    assert os.listdir(tmp_path) == ["thesis.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")
def test_check_looks_as_the_user_of_the_settings() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "tls").mkdir()
        files = authority.self_signed(folder / "tls", "mail.example.org")
        pair = {"certificate": str(files.certificate), "key": str(files.key)}
        settings = settle({"data": str(folder / "data"), "tls": {"certificates": [pair]}, "user": "nobody"})
        [sentence] = check.problems(settings)
        assert sentence.startswith(f"tls.certificates[0]: {files.key}: the user nobody may not read it; let their")
        assert f"chgrp nogroup {files.key} && chmod g+r {files.key}" in sentence
        shutil.chown(files.key, group="nogroup")
        files.key.chmod(0o640)
        assert check.problems(settings) == []
        (folder / "data").mkdir()
        (folder / "data" / "posthouse.db").touch()
        [sentence] = check.problems(settings)
        assert f"data: {folder}/data does not belong to nobody; give it to them: chown -R nobody:" in sentence
    assert os.geteuid() == 0


def test_a_file_that_the_environment_names_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load(None, {})


def test_certbots_keys_are_opened_to_the_group_that_certbot_keeps() -> None:
    error = Exception("x")
    error.__cause__ = PermissionError(13, "Permission denied", "/etc/letsencrypt/live/a.test/privkey.pem")
    said = start.why_unusable(error)
    assert "may not read it; let their group do so: chgrp -R " in said
    assert "/etc/letsencrypt/live /etc/letsencrypt/archive && chmod -R g+rX /etc/letsencrypt/live" in said


def test_quotas_are_checked() -> None:
    assert problems('[quota]\nadministrators = ["anna@home.test", "anna"]') == [
        "quota.administrators[1]: 'anna' is no address: the @ and the domain are missing, as in anna@example.org"
    ]
    assert problems("[quota]\nwarn_percent = [95, 80]") == [
        "quota.warn_percent: each percentage once, the lowest first"
    ]
    assert len(problems("[quota]\nstorage = 0\nmessages = -1\nwarn_percent = [101]\nrefuse = 'never'")) == 4


def test_quotas_as_the_store_knows_them() -> None:
    """0 and nothing are no limit; more than can be counted is the most that can."""
    assert rules_of(settle({}).quota) == Rules()
    found = rules_of(settle({"quota": {"storage": "2 GiB", "messages": 5, "overdraft_percent": 0}}).quota)
    assert (found.default, found.overdraft_percent) == (Limits(2 << 30, 5), 0)
    assert rules_of(settle({"quota": {"storage": "999999999999 TiB"}}).quota).default == Limits(LARGEST)
