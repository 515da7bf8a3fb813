"""`posthouse tls show` and `forget`."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from posthouse.cli import main
from posthouse.mail.ids import Millis
from posthouse.store import tlsmemory
from posthouse.store.store import open_sync
from posthouse.store.tlsmemory import DAY, KeptPolicy

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--data", str(tmp_path / "data")])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    run("domain", "add", "home.test")
    return run


def test_what_is_known_of_a_domain(run: Run, tmp_path: Path) -> None:
    assert run("tls", "show", "a.test") == (
        0,
        "a.test has not taken mail over TLS from here.\nNo MTA-STS policy of it is kept.\n",
    )
    now = Millis(time.time_ns() // 1_000_000)
    text = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 86400"
    with open_sync(tmp_path / "data") as store:
        store.run(tlsmemory.saw_tls, "a.test", now)
        store.run(tlsmemory.keep_policy, "a.test", KeptPolicy("1", text, now, Millis(now + DAY), now))
        store.run(tlsmemory.missed_tls, "a.test", now)
        store.run(tlsmemory.saw_tls, "old.test", Millis(now - 100 * DAY))
    status, said = run("tls", "show", "A.test")
    assert status == 0
    assert "it gets no mail without it" in said
    assert "refused TLS since" in said
    assert "policy holds until" in said
    assert "mx: mx.a.test" in said
    assert "may do without it" in run("tls", "show", "old.test")[1]
    found = json.loads(run("tls", "show", "a.test", "--json")[1])
    assert (found["tls_wanted"], found["mta_sts"][1]) == (True, "mode: enforce")


def test_it_is_forgotten(run: Run, tmp_path: Path) -> None:
    with open_sync(tmp_path / "data") as store:
        store.run(tlsmemory.saw_tls, "a.test", Millis(time.time_ns() // 1_000_000))
    status, said = run("tls", "forget", "a.test")
    assert (status, "without TLS again" in said) == (0, True)
    status, said = run("tls", "forget", "a.test")
    assert (status, "nothing is remembered" in said) == (1, True)
    assert run("tls", "show", "a b")[0] == 1


def test_forgetting_is_no_way_around_a_policy(run: Run, tmp_path: Path) -> None:
    now = Millis(time.time_ns() // 1_000_000)
    with open_sync(tmp_path / "data") as store:
        for name, mode, until in (("a.test", "enforce", DAY), ("b.test", "testing", DAY), ("c.test", "enforce", -DAY)):
            text = f"version: STSv1\nmode: {mode}\nmx: mx.{name}\nmax_age: 86400"
            store.run(tlsmemory.saw_tls, name, now)
            store.run(tlsmemory.keep_policy, name, KeptPolicy("1", text, now, Millis(now + until), now))
    assert "MTA-STS policy of a.test still asks for TLS, until" in run("tls", "forget", "a.test")[1]
    assert run("tls", "forget", "b.test")[1].startswith("b.test may take mail without TLS again")
    assert run("tls", "forget", "c.test")[1].startswith("c.test may take mail without TLS again")
