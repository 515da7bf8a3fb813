"""posthouse restore and posthouse retention, as typed."""

import json
from pathlib import Path

import pytest

from posthouse import cli, restoring
from posthouse.admin import user_of
from posthouse.mail.ids import Millis
from posthouse.mail.keyword import SEEN_BIT
from posthouse.store import emails, mailboxes
from posthouse.store.removed import Removal
from posthouse.store.store import open_sync
from store.fsck import consistency
from store_rig import NOW, Rig

SUBJECTS = (b"The keys", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", b"Bad \x1b[31mred")


def message(subject: bytes, number: int) -> bytes:
    return b"From: Ben Mann <ben%d@home.test>\r\nSubject: %b\r\nMessage-ID: <%d@t>\r\n\r\nx%d" % (
        number, subject, number, number,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store in which anna has removed three messages from INBOX, one by one, and one from Work, which is gone."""
    with open_sync(tmp_path / "data") as store:
        rig = Rig(store)
        for name in ("INBOX", "Work"):
            octets = [message(subject, number) for number, subject in enumerate(SUBJECTS)]
            rig.run(emails.add, rig.box(name), [rig.email(one, flags=SEEN_BIT) for one in octets])
        for uid in (1, 2, 3):
            kept = Removal(Millis(NOW + uid * 1000), "anna@home.test by IMAP from 192.0.2.7")
            rig.run(emails.expunge, rig.box(), ((uid, uid),), marked=False, kept=kept)
        rig.run(mailboxes.delete, rig.anna, "Work", Removal(Millis(NOW + 9000), "anna@home.test by IMAP"))
    return tmp_path / "data"


def typed(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.main([words[0], "anna@home.test", *words[1:], "--data", str(folder)])
    out, err = capsys.readouterr()
    with open_sync(folder) as store:
        assert store.read(consistency) == []
    return int(str(ended.value.code)), out, err


def listed(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    status, out, _ = typed(folder, capsys, "restore", *words, "--list", "--json")
    assert status == 0
    found: list[dict[str, object]] = json.loads(out)
    return found


def test_the_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = typed(folder, capsys, "restore")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "from Work, removed by anna@home.test by IMAP" in lines[0]
    assert "Ben Mann <ben1@home.test>  Grüße" in out
    assert "\x1b" not in out
    assert lines[-2] == "These are all 6."
    assert (
        typed(folder, capsys, "restore", "--limit", "2")[1].splitlines()[-2]
        == "These are the first 2; --limit shows more."
    )
    assert [(one["mailbox"], one["uid"]) for one in listed(folder, capsys)] == [
        ("Work", 3), ("Work", 2), ("Work", 1), ("INBOX", 3), ("INBOX", 2), ("INBOX", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (("--mailbox", "inbox"), 3),
        (("--mailbox", "Nothing"), 0),
        (("--subject", "GRÜ"), 2),
        (("--from", "ben2@"), 2),
        (("--from", "mann", "--mailbox", "Work", "--subject", "keys"), 1),
        (("--since", "2023-11-01"), 6),
        (("--since", "1h"), 0),
        (("--all",), 6),
    ],
)
def test_choices(folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], number: int) -> None:
    assert len(listed(folder, capsys, *words)) == number


def test_by_id_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = str(listed(folder, capsys)[-1]["id"])
    assert typed(folder, capsys, "restore", wanted)[:2] == (0, "Brought back 1 message to INBOX.\n")
    assert typed(folder, capsys, "restore", wanted)[:2] == (0, "Nothing of that is recently deleted.\n")
    assert len(listed(folder, capsys)) == 5


def test_all_in_the_order_in_which_it_stood(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "RESTORE_CHUNK", 2)
    monkeypatch.setattr(restoring, "LISTED", 2)
    before = [one["id"] for one in listed(folder, capsys)][::-1]
    status, out, _ = typed(folder, capsys, "restore", "--all", "--json")
    assert status == 0
    assert [(one["mailbox"], one["uid"], one["was"]) for one in json.loads(out)] == [
        ("INBOX", 4, 1), ("INBOX", 5, 2), ("INBOX", 6, 3), ("Work", 1, 1), ("Work", 2, 2), ("Work", 3, 3),
    ]  # fmt: skip
    with open_sync(folder) as store:
        anna = user_of(store, "anna@home.test").account
        ids = []
        for name in ("INBOX", "Work"):
            row = store.read(mailboxes.find, anna, name)
            assert row is not None
            ids += [f"M{email}" for _, email in store.read(emails.fetch, row.box, emails.ALL, [emails.Column.EMAIL])]
    assert ids == before
    assert listed(folder, capsys) == []
    assert typed(folder, capsys, "restore")[1] == "Nothing of that is recently deleted.\n"


def test_forget(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = typed(folder, capsys, "restore", "--forget")
    assert (status, "say what to remove" in err) == (1, True)
    status, _, err = typed(folder, capsys, "restore", "--forget", "--mailbox", "Work")
    assert (status, "--yes" in err) == (1, True)
    assert len(listed(folder, capsys)) == 6
    status, out, _ = typed(folder, capsys, "restore", "--forget", "--mailbox", "Work", "--yes")
    assert (status, out) == (0, "Removed 3 messages for ever.\n")
    assert {one["mailbox"] for one in listed(folder, capsys)} == {"INBOX"}
    typed(folder, capsys, "restore", "--forget", "--all", "--yes")
    with open_sync(folder) as store:
        for table in ("email", "octets", "blob"):
            assert store._database.connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)], table


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("restore", "12x"), "'12x' is not the id of a message; they look like M12"),
        (("restore", "--since", "soon"), "'soon' is no time"),
        (("restore", "--mailbox", ""), "'' cannot be the name of a mailbox"),
        (("restore", "--limit", "0"), "--limit is at least 1"),
        (("retention", "Trash"), "say a mailbox, and one of"),
        (("retention", "--days", "3"), "say a mailbox, and one of"),
        (("retention", "Trash", "--days", "0"), "--days is from 1 to 36500"),
        (("retention", "Trash", "--never", "--usual"), "say a mailbox, and one of"),
        (("retention", "None", "--never"), "anna@home.test has no mailbox None"),
    ],
)
def test_wrong_words(folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str) -> None:
    status, _, err = typed(folder, capsys, *words)
    assert status == 1
    assert reason in err


def test_somebody_who_is_not_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["restore", "nobody@home.test", "--data", str(folder)])
    assert ended.value.code == 1
    assert "there is no user nobody@home.test" in capsys.readouterr().err


def test_rules(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(folder, capsys, "retention", "Trash", "--days", "90")[1] == "Messages leave Trash after 90 days.\n"
    assert typed(folder, capsys, "retention", "Junk", "--days", "1")[1] == "Messages leave Junk after 1 day.\n"
    typed(folder, capsys, "retention", "Junk", "--usual")
    assert typed(folder, capsys, "retention", "Sent", "--never")[1] == "Messages stay in Sent.\n"
    assert typed(folder, capsys, "retention")[1].splitlines() == [
        "Junk: messages leave after 30 days, as for everybody",
        "Sent: messages stay",
        "Trash: messages leave after 90 days",
    ]
    assert typed(folder, capsys, "retention", "Trash", "--usual")[0] == 0
    found = json.loads(typed(folder, capsys, "retention", "--json")[1])
    assert found[-1] == {"mailbox": "Trash", "days": 30, "own": False}
