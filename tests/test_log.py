"""The log: one event, one line, whatever a peer has sent."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse import log
from posthouse.log import JsonLine, TextLine, escape


def record(message: str, *args: object, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "posthouse.smtp", "levelname": "INFO", "msg": message, "args": args})
    vars(made).update(fields)
    return made


def test_text_has_the_event_and_its_fields() -> None:
    line = TextLine().format(record("refused %s", "eve", peer="192.0.2.1"))
    assert line.endswith("Z info posthouse.smtp: refused eve peer=192.0.2.1")


def test_json_has_the_same() -> None:
    line = json.loads(JsonLine().format(record("refused", peer="192.0.2.1")))
    assert (line["event"], line["peer"], line["level"]) == ("refused", "192.0.2.1", "info")


@given(st.text())
def test_nothing_makes_a_second_line_or_drives_a_terminal(text: str) -> None:
    assert len(escape(text).splitlines()) <= 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in escape(text))
    for form in (TextLine(), JsonLine()):
        assert len(form.format(record("%s", text, peer=text)).splitlines()) == 1


def test_a_traceback_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        log.set_up("info", "text")
        try:
            raise KeyError("\x1b[2J")
        except KeyError:
            logging.getLogger("posthouse").exception("broke\r\n")
        logging.getLogger("posthouse").debug("not shown")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    [line] = capsys.readouterr().err.splitlines()
    assert "broke\\r\\n Traceback" in line
    assert "\x1b" not in line
