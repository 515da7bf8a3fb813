"""Commands of `posthouse`, given as somebody types them."""

import io
import sys
from collections.abc import Sequence

import pytest

from posthouse.cli import main


class Said:
    """What a command answered."""

    def __init__(self, status: object, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


def answer(
    words: Sequence[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Said:
    """Give a command, with this text on its standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with pytest.raises(SystemExit) as exited:
        main(words)
    return Said(exited.value.code, *capsys.readouterr())
