"""The log: one event, its fields, one line on standard error, as text or JSON.

Rooms below the roof use Python's `logging` and pass fields with `extra={"peer": ip}`. What a peer has sent may stand in
any of them, so every control octet is escaped: nobody can forge a second line or move an operator's cursor.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

# Everything that ends a line or drives a terminal: C0, DEL, C1, and Unicode's line and paragraph separators.
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROL} | {
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
}
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}  # what is no field of ours


def escape(text: str) -> str:
    """The text as one line that drives no terminal."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def _moment(record: logging.LogRecord) -> str:
    second, rest = divmod(record.created, 1)
    return f"{_second(int(second))}.{int(rest * 1000):03}Z"


@lru_cache(2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class TextLine(logging.Formatter):
    """`2026-11-23T06:41:06.123Z info posthouse.smtp: what happened peer=192.0.2.1`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        parts = [_moment(record), record.levelname.lower(), f"{record.name}:", record.getMessage()]
        parts += [f"{name}={value}" for name, value in _fields(record).items()]
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        return escape(" ".join(parts))


class JsonLine(logging.Formatter):
    """The same as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(level: str, form: Literal["text", "json"]) -> None:
    """Write events of `level` and above to standard error, from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine() if form == "json" else TextLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # No line says in which file, thread or process it was written, and to find out takes a third of the time.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
