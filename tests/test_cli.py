"""The command line: what it prints, what it refuses and how, and that it is quick."""

import fcntl
import getpass
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import IO

import psutil
import pytest

from commands import Said, answer
from posthouse import admin, removing, start
from posthouse.mail.ids import Millis
from posthouse.store import emails, mailboxes
from posthouse.store.migrate import STEPS, migrate
from posthouse.store.removed import Removal
from posthouse.store.sqlite import Database
from posthouse.store.store import open_sync
from store_rig import new_email

MESSAGE = b"From: Anna <anna@home.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n"
HEAVY = ("asyncio", "apsw", "cryptography", "argon2", "posthouse.store.store", "email")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def command(*words: str, text: str = "") -> Said:
        return answer(
            [*words, "--data", str(tmp_path)] if words[0] in ("domain", "user", "alias", "group") else words,
            text,
            capsys,
            monkeypatch,
        )

    return command


def test_domains_users_and_aliases_live_and_die(run) -> None:  # type: ignore[no-untyped-def]
    assert run("domain", "add", "Home.Test").out == "Added the domain home.test.\n"
    assert run("user", "add", "anna@home.test", "--password-stdin", text="secret\n").status == 0
    assert run("user", "add", "ben@home.test", "--password-stdin", text="secret").status == 0
    assert run("alias", "add", "all@home.test", "anna@home.test", "ben@home.test").status == 0
    assert run("domain", "catch-all", "home.test", "anna@home.test").status == 0
    assert json.loads(run("domain", "list", "--json").out) == [
        {"domain": "home.test", "users": 2, "catch_all": "anna@home.test", "alias_of": None}
    ]
    assert run("domain", "list").out.splitlines() == [
        "DOMAIN     USERS  CATCH-ALL       ALIAS-OF",
        "home.test  2      anna@home.test  -",
    ]
    assert json.loads(run("user", "list", "--json").out)[0] == {
        "user": "anna@home.test",
        "messages": 0,
        "octets": 0,
        "directory": False,
    }
    assert json.loads(run("alias", "list", "--json").out) == [
        {"alias": "all@home.test", "targets": ["anna@home.test", "ben@home.test"]}
    ]
    assert "all@home.test  anna@home.test, ben@home.test" in run("alias", "list").out
    assert run("user", "password", "anna@home.test", "--password-stdin", text="other\n").status == 0
    assert (
        run("alias", "set", "All@home.test", "ben@home.test").out
        == "Mail for All@home.test now goes to ben@home.test.\n"
    )
    assert json.loads(run("alias", "list", "--json").out)[0]["targets"] == ["ben@home.test"]
    assert run("alias", "set", "all@home.test", "nobody@home.test").status == 1
    assert json.loads(run("alias", "list", "--json").out)[0]["targets"] == ["ben@home.test"]
    assert run("alias", "remove", "all@home.test").status == 0
    assert run("domain", "catch-all", "home.test", "--off").status == 0
    for name in ("anna", "ben"):
        assert run("user", "remove", f"{name}@home.test", "--yes").status == 0
    assert run("domain", "remove", "home.test").status == 0
    assert run("domain", "list", "--json").out == "[]\n"
    assert run("domain", "list").out == "There are none.\n"


def test_names_are_shown_as_people_read_them(run) -> None:  # type: ignore[no-untyped-def]
    said = run("domain", "add", "Bücher.test").out
    assert said == "Added the domain xn--bcher-kva.test (bücher.test).\n"
    run("user", "add", "anna@bücher.test", "--password-stdin", text="secret\n")
    assert run("domain", "list").out.splitlines()[1].startswith("xn--bcher-kva.test (bücher.test)  1 ")
    assert run("user", "list").out.splitlines()[1].startswith("anna@xn--bcher-kva.test (anna@bücher.test)  0 ")
    assert json.loads(run("user", "list", "--json").out)[0]["user"] == "anna@xn--bcher-kva.test"
    assert json.loads(run("domain", "list", "--json").out)[0]["domain"] == "xn--bcher-kva.test"


def test_a_domain_of_the_own_network_is_taken_with_a_word(run) -> None:  # type: ignore[no-untyped-def]
    said = run("domain", "add", "lan")
    assert said.status == 0
    assert said.out.splitlines()[1].startswith("Beware: a name without a dot is known in your own network only")


def test_groups_and_other_names(run) -> None:  # type: ignore[no-untyped-def]
    run("domain", "add", "home.test")
    for name in ("anna", "ben"):
        run("user", "add", f"{name}@home.test", "--password-stdin", text="secret\n")
    said = run("group", "add", "team@home.test", "anna@home.test", "--from", "members")
    assert said.out == (
        "Mail for team@home.test goes to anna@home.test; its members may write to it, once they are logged in.\n"
    )
    assert (
        run("group", "join", "team@home.test", "ben@home.test").out
        == "ben@home.test gets mail for team@home.test now.\n"
    )
    assert run("group", "leave", "team@home.test", "anna@home.test").status == 0
    assert "everybody may write" in run("group", "set", "team@home.test", "--from", "anyone").out
    run("group", "add", "all@home.test", "--everyone")
    assert json.loads(run("group", "list", "--json").out) == [
        {"group": "all@home.test", "from": "users", "everyone": True, "members": []},
        {"group": "team@home.test", "from": "anyone", "everyone": False, "members": ["ben@home.test"]},
    ]
    assert "team@home.test  anyone  ben@home.test" in run("group", "list").out
    assert "is a group; posthouse group remove" in run("alias", "remove", "team@home.test").err
    assert "the group all@home.test exists" in run("user", "add", "all@home.test").err
    assert "ben@home.test is benno@home.test now" in run("user", "rename", "ben@home.test", "benno@home.test").out
    assert run("domain", "alias", "new.test", "home.test").status == 0
    assert "with 2 users and" in run("domain", "rename", "home.test", "work.test", "--no-keep-alias").out
    assert json.loads(run("domain", "list", "--json").out) == [
        {"domain": "new.test", "users": 0, "catch_all": None, "alias_of": "work.test"},
        {"domain": "work.test", "users": 2, "catch_all": None, "alias_of": None},
    ]
    assert json.loads(run("group", "list", "--json").out)[1]["members"] == ["benno@work.test"]
    assert run("group", "remove", "team@work.test").status == 0


def test_who_opens_a_closed_group_is_told(run) -> None:  # type: ignore[no-untyped-def]
    run("domain", "add", "home.test")
    run("user", "add", "anna@home.test", "--password-stdin", text="secret\n")
    run("group", "add", "team@home.test", "anna@home.test", "--from", "members")
    said = run("alias", "add", "crew@home.test", "team@home.test")
    assert said.out.splitlines()[1:] == [
        "Beware: everybody in the world reaches the group team@home.test by crew@home.test now. The group's own rule",
        "(--from members) holds for mail to team@home.test alone. To have it here too, make this a group:",
        "    posthouse alias remove crew@home.test",
        "    posthouse group add crew@home.test team@home.test --from members",
    ]
    assert (
        "reaches the group team@home.test by all@home.test now"
        in run("alias", "add", "all@home.test", "crew@home.test", "anna@home.test").out
    )
    assert "Beware" not in run("alias", "set", "all@home.test", "anna@home.test").out
    assert "Beware" in run("alias", "set", "all@home.test", "crew@home.test").out
    assert "Beware" not in run("group", "set", "team@home.test", "--from", "anyone").out
    assert "Beware" not in run("alias", "set", "all@home.test", "crew@home.test").out
    assert run("group", "set", "team@home.test", "--from", "users").out.splitlines()[1:] == [
        "Beware: everybody in the world still reaches it by the alias crew@home.test.",
        "Beware: everybody in the world still reaches it by the alias all@home.test.",
    ]
    run("alias", "remove", "all@home.test")
    run("alias", "remove", "crew@home.test")
    assert run("group", "add", "crew@home.test", "team@home.test", "--from", "users").status == 0
    assert "Beware" not in run("group", "set", "team@home.test", "--from", "members").out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["domain", "add", "home..test"], "'home..test' is not a domain: a label between two dots is empty"),
        (["domain", "add", "anna@home.test"], "it is an address; its domain is home.test"),
        (["domain", "add", "a b"], "a domain has no blanks"),
        (["domain", "add", "x" * 64 + ".test"], "a label has at most 63 characters"),
        (["domain", "add", "a-.test"], "no label begins or ends with a hyphen"),
        (["domain", "add", "home.test"], "the domain home.test exists"),
        (["domain", "remove", "hme.test"], "hme.test is not a domain of this server; did you mean home.test?"),
        (["domain", "remove", "nosuch.org"], "is not a domain of this server; `posthouse domain list` shows them"),
        (["domain", "catch-all", "home.test"], "say an address, or --off"),
        (["user", "add", "anna"], "'anna' is not an address: the @ and the domain are missing"),
        (["user", "add", "@home.test"], "the part before the @ is missing"),
        (["user", "add", "a..b@home.test"], "a dot at an end or two in a row"),
        (["user", "add", "a@home..test"], "'home..test' is not a domain"),
        (["user", "add", "x" * 65 + "@home.test"], "more than 64 octets"),
        (["user", "add", "anna@hoem.test", "--password-stdin"], "did you mean home.test?"),
        (["user", "add", "anna@other.org", "--password-stdin"], "add it first: posthouse domain add other.org"),
        (["user", "add", "new@home.test"], "no terminal to ask for the password on; use --password-stdin"),
        (["user", "add", "new@home.test", "--password-stdin"], "the password is empty; nothing was changed"),
        (["user", "add", "Anna@home.test"], "the user Anna@home.test exists"),
        (["user", "password", "nobody@home.test", "--password-stdin"], "there is no user nobody@home.test"),
        (["user", "remove", "nobody@home.test"], "there is no user nobody@home.test"),
        (["user", "remove", "anna@home.test"], "say --yes if you are sure"),
        (["alias", "add", "x@home.test"], "at least one address that the alias leads to"),
        (["alias", "add", "x@home.test", "nobody@home.test"], "nobody@home.test leads nowhere"),
        (["user", "add", "SRS0=a@home.test"], "should not be an address of this server: names that begin with SRS0="),
        (["user", "rename", "anna@home.test", "srs1=a@home.test"], "names that begin with srs1= are for mail"),
        (["alias", "add", "SRS0=a@home.test", "anna@home.test"], "names that begin with SRS0= are for mail"),
        (["group", "add", "SRS0=a@home.test", "anna@home.test"], "names that begin with SRS0= are for mail"),
        (["alias", "set", "x@home.test"], "at least one address that the alias leads to"),
        (["alias", "set", "x@home.test", "anna@home.test"], "there is no alias x@home.test"),
        (["alias", "remove", "x@home.test"], "there is no alias x@home.test"),
        (["user", "add", "аnna@home.test"], "mixes Cyrillic and Latin letters"),
        (["user", "add", "anna@hоme.test", "--password-stdin"], "mixes Cyrillic and Latin letters"),
        (["user", "password", "anna@ноme.test", "--password-stdin"], "there is no user"),
        (["domain", "remove", "hоmе.test"], "did you mean home.test?"),
        (["domain", "add", "hоme.test"], "did you mean home?"),
        (["domain", "alias", "new.test", "work.test"], "work.test is not a domain of this server"),
        (["domain", "rename", "home.test", "home.test"], "home.test is its name already"),
        (["user", "rename", "anna@home.test", "anna@home.test"], "anna@home.test is its name already"),
        (
            ["domain", "add", "localhost"],
            "'localhost' should not be a domain of this server: localhost is every machine",
        ),
        (["domain", "rename", "home.test", "com"], "it is a top-level domain"),
        (["domain", "alias", "ho_me.test", "home.test"], "a mail domain has no _ in it"),
        (["user", "add", "Anna Müller <am@home.test>"], "only the address is wanted, without a name: am@home.test"),
        (["domain", "add", "192.0.2.1"], "its last part has only digits"),
        (["user", "rename", "anna@home.test", "a b@home.test"], "has a blank in it"),
        (["user", "rename", "anna@home.test", "anna@other.org"], "posthouse domain add other.org"),
        (["user", "rename", "ben@home.test", "eve@home.test"], "there is no user ben@home.test"),
        (["group", "add", "x@home.test"], "say at least one member, or --everyone"),
        (["group", "add", "x@home.test", "anna@home.test", "--everyone"], "say no others beside it"),
        (["group", "add", "anna@home.test", "anna@home.test"], "the user anna@home.test exists"),
        (["group", "set", "x@home.test"], "nothing was changed"),
        (["group", "set", "x@home.test", "anna@home.test"], "there is no group x@home.test"),
        (["group", "remove", "x@home.test"], "there is no group x@home.test"),
        (["check", "/nowhere/posthouse.toml"], "/nowhere/posthouse.toml: No such file"),
        (["message", "/nowhere/a.eml"], "/nowhere/a.eml: No such file"),
        (["serve", "--config", "/nowhere/posthouse.toml"], "/nowhere/posthouse.toml: No such file"),
        (["try", "send", "Hello", "--from", "eve", "--dir", "/nowhere"], "--from is anna or ben, not 'eve'"),
        (["try", "send", "Hello", "--to", "a b", "--dir", "/nowhere"], "--to is anna, ben or an address"),
        (["try", "send"], 'say what to send: posthouse try send "Hello Ben"'),
        (["try", "send", "hi\udcff", "--dir", "/nowhere"], "the text is not UTF-8"),
        (["try", "send", "Hello", "Ben", "--dir", "/nowhere"], "the playground is not running"),
        (["try", "--dir", "/dev/null"], "/dev/null is a file, and the playground needs a folder"),
        (["try", "send", "Hello", "--dir", "/nowhere"], "the playground is not running; start it in another terminal"),
    ],
)
def test_refusals_say_why(run, words: list[str], reason: str) -> None:  # type: ignore[no-untyped-def]
    assert run("domain", "add", "home.test").status == 0
    assert run("user", "add", "anna@home.test", "--password-stdin", text="secret\n").status == 0
    said = run(*words)
    assert said.status == 1
    assert said.err.startswith("posthouse")
    assert reason in said.err
    assert said.err.count("\n") == 1


def test_words_that_make_no_command(run) -> None:  # type: ignore[no-untyped-def]
    said = run("usr", "list")
    assert said.status == 2
    assert 'Did you mean "user"?' in " ".join((said.out + said.err).split())


def test_check_says_all_is_well(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "posthouse.toml"
    file.write_text('hostname = "mail.example.org"\nuser = "root"\n')
    said = run("check", str(file))
    assert said.status == 0
    assert "no problems found" in said.out
    assert "note: tls.certificates: none" in said.out
    file.write_text("hostnam = 1\nworkers = 0\n")
    said = run("check", "--config", str(file))
    assert said.status == 1
    assert len(said.err.splitlines()) == 2


def test_check_reads_what_mail_to_others_needs(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "posthouse.toml"
    relay = '[relay]\nhost = "smtp.example.net"\nuser = "house"\npassword_file = "secret"\n'
    file.write_text(f'hostname = "mail.example.org"\n{relay}[sending]\nauthorities = "ca.pem"\n')
    first, second = run("check", str(file)).err.splitlines()
    assert first.endswith(f"relay.password_file: {tmp_path}/secret: No such file or directory")
    assert second.endswith(f"sending.authorities: {tmp_path}/ca.pem: No such file or directory")
    (tmp_path / "secret").write_bytes("Größe\n".encode("latin-1"))
    (tmp_path / "ca.pem").write_text("no certificate")
    first, second = run("check", str(file)).err.splitlines()
    assert first.endswith(f"relay.password_file: {tmp_path}/secret: it is not UTF-8")
    assert f"sending.authorities: {tmp_path}/ca.pem: " in second


def test_a_message_is_shown_as_json_and_its_parts_as_octets(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "a.eml"
    file.write_bytes(MESSAGE)
    shown = json.loads(run("message", str(file)).out)
    assert shown["subject"] == "Grüße"
    assert shown["from"] == [{"name": "Anna", "email": "anna@home.test"}]
    assert json.loads(run("message", "-", text=MESSAGE.decode()).out) == shown
    part = subprocess.run(
        [sys.executable, "-m", "posthouse", "message", file, "--part", "1"], capture_output=True, check=True
    )
    assert part.stdout == b"Hello\r\n"
    said = run("message", str(file), "--part", "7")
    assert said.status == 1
    assert "has no part 7" in said.err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from posthouse.cli import app\n"
        "app(['--help'], result_action='return_value', exit_on_error=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("serve", "try", "check", "domain", "user", "alias", "message"):
        assert f" {name} " in done.stdout


def test_only_the_first_step_makes_a_store_and_only_in_a_new_folder(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for words in (["domain", "list"], ["user", "list"], ["alias", "list"], ["user", "add", "anna@home.test"]):
        said = run(*words)
        assert said.status == 1
        assert f"there is no Posthouse store in {tmp_path}; the first step is: posthouse domain add" in said.err
    (tmp_path / "thesis.txt").write_text("years of work")
    for words in (["domain", "add", "home.test"], ["domain", "list"]):
        said = run(*words)
        assert said.status == 1
        assert f"data: {tmp_path} is not empty, and no data directory of Posthouse" in said.err
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_command_leaves_the_database_of_an_older_server_that_runs(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    database = Database(tmp_path)
    migrate(database, STEPS[:-1])
    with start.locked(tmp_path):
        said = run("domain", "list")
        assert (said.status, said.out) == (1, "")
        assert "the server that runs is of an older Posthouse" in said.err
        assert database.connection.pragma("user_version") == len(STEPS) - 1
    assert run("domain", "list").status == 0
    assert database.connection.pragma("user_version") == len(STEPS)
    database.close()
    with start.locked(tmp_path):
        assert run("domain", "list").status == 0


def test_a_password_is_one_line(run) -> None:  # type: ignore[no-untyped-def]
    run("domain", "add", "home.test")
    said = run("user", "add", "anna@home.test", "--password-stdin", text="one\ntwo\n")
    assert "more than one line" in said.err
    assert run("user", "add", "anna@home.test", "--password-stdin", text="one\r\n").status == 0


def test_what_goes_with_a_user_is_said_before(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """What cannot be brought back is said before, and how much it is."""
    run("domain", "add", "home.test")
    run("user", "add", "anna@home.test", "--password-stdin", text="secret\n")
    with open_sync(tmp_path) as store:
        anna = admin.user_of(store, "anna@home.test").account
        inbox = store.read(mailboxes.find, anna, "INBOX")
        assert inbox is not None
        store.run(emails.add, inbox.box, [new_email(store, MESSAGE + b"%d" % n) for n in range(3)])
        store.run(emails.expunge, inbox.box, ((1, 1),), marked=False, kept=Removal(Millis(1), "anna"))
    held = (
        f"2 messages ({2 * len(MESSAGE) + 2} octets), 1 recently deleted message ({len(MESSAGE) + 1} octets), all"
        " passwords, rights and settings"
    )
    asked: list[str] = []
    with monkeypatch.context() as typing:
        typing.setattr(removing, "confirmed", asked.append)  # None is no
        for more in ((), ("--now",)):
            said = run("user", "remove", "Anna@home.test", *more)
            assert (said.status, said.err) == (1, "posthouse: nothing was removed\n")
    assert asked == [
        f"Remove anna@home.test, with {held}? It can be brought back for some time.",
        f"Remove anna@home.test, with {held}? None of it can be brought back.",
    ]
    said = run("user", "remove", "anna@home.test", "--yes", "--now")
    assert said.out == f"Removed the user anna@home.test, with {held}.\n"
    assert run("user", "list", "--removed").out == "There are none.\n"


def test_a_terminal_that_answers_with_ctrl_d(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", end)
    monkeypatch.setattr("builtins.input", end)
    anna = admin.address_of("anna@home.test")
    with pytest.raises(admin.Refused, match="no password was typed; nothing was changed"):
        admin.new_password(anna, from_stdin=False)
    for nothing in ("", "   "):
        monkeypatch.setattr(getpass, "getpass", lambda prompt, typed=nothing: typed)
        with pytest.raises(admin.Refused, match="the password is empty"):
            admin.new_password(anna, from_stdin=False)


def test_check_says_that_there_is_no_file(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("POSTHOUSE_CONFIG", raising=False)
    monkeypatch.setattr("posthouse.config.default_file", lambda: tmp_path / "none.toml")
    monkeypatch.setenv("POSTHOUSE__DATA", str(tmp_path / "data"))
    said = run("check")
    assert said.status == 0
    assert f"There is no file at {tmp_path}/none.toml; the defaults would be used." in said.out
    assert "The defaults: no problems found." in said.out
    monkeypatch.setenv("POSTHOUSE_CONFIG", str(tmp_path / "none.toml"))
    said = run("check")
    assert said.status == 1
    assert "none.toml: No such file" in said.err


@pytest.mark.parametrize("words", [["message", "FILE"], ["message", "FILE", "--part", "1"]])
def test_output_that_nobody_reads_ends_quietly(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.eml"
    file.write_bytes(MESSAGE + b"x\r\n" * 100_000)
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "posthouse", *(str(file) if word == "FILE" else word for word in words)]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


def unread(pipe: IO[bytes]) -> int:
    """Octets that nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_ctrl_c_ends_quietly() -> None:
    """Once the program has begun."""
    began = [sys.executable, "-m", "posthouse", "message", "-"]
    # A shell's background job ignores SIGINT, and its children inherit that: here it must be a terminal's.
    listen = (
        f"import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler);os.execv({began[0]!r}, {began!r})"
    )
    with subprocess.Popen([sys.executable, "-c", listen], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdin is not None
        assert waiting.stderr is not None
        waiting.stdin.write(b"x")
        waiting.stdin.flush()
        # Python sees a signal that comes while it waits for more, and not one between two reads.
        while unread(waiting.stdin) or psutil.Process(waiting.pid).status() != psutil.STATUS_SLEEPING:
            time.sleep(0.01)
        waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
    assert (waiting.returncode, said) == (130, b"")


def readable_by_others(path: Path) -> bool:
    return path.exists() and all(folder.stat().st_mode & 0o005 == 0o005 for folder in path.resolve().parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_root_makes_belongs_to_the_user_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    program = [sys.executable, "-m", "posthouse"]
    if not readable_by_others(Path(os.__file__)):  # root's own Python, as pyenv makes it; Debian's does as well
        program[0] = "/usr/bin/python3.11"
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if readable_by_others(Path(path))))
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        settings = folder / "posthouse.toml"
        settings.write_text('data = "var/data"\nuser = "nobody"\n')
        for words in (["domain", "add", "home.test"], ["domain", "list"]):
            done = subprocess.run([*program, *words, "--config", settings], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        found = [folder / "var" / "data", *(folder / "var" / "data").rglob("*")]
        assert {path.owner() for path in found} == {"nobody"}
        assert stat.S_IMODE(found[0].stat().st_mode) == 0o700
        os.chown(folder / "var" / "data" / "posthouse.db", 0, 0)
        done = subprocess.run(
            [*program, "domain", "list", "--config", settings],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"does not belong to nobody; give it to them: chown -R nobody: {folder}/var/data" in done.stderr
