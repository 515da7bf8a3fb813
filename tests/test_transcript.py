"""transcript.py and fakes.py: the runner finds what is wrong, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from fakes import FakeClock, WarpLoop, memory_link, warp
from posthouse.net.link import Link
from posthouse.wire.buffer import ReceiveBuffer
from transcript import at_random, octet_by_octet, read_transcript, run_transcript, spell, whole


class Echo:
    """An engine of a server that says each line back."""

    def __init__(self) -> None:
        self.buffer = ReceiveBuffer()

    def receive(self, data: bytes) -> None:
        self.buffer.append(data)

    def next_event(self) -> bytes | None:
        return self.buffer.take_line()

    def starttls(self) -> None:
        self.buffer.clear()


async def echo(link: Link) -> None:
    """Greets, says each line back until `bye`, waits for an hour at most."""
    engine = Echo()
    link.write(b"hello\r\n")
    link.deadline(3600)
    try:
        while isinstance(line := await link.next(engine), bytes):
            if line == b"bye\r\n":
                break
            link.write(line)
    except TimeoutError:
        link.write(b"too late\r\n")
    link.close()


def play(folder: Path, text: str) -> dict[int, bytes]:
    """Play a text against the echo, all three ways."""
    path = folder / "test.txt"
    path.write_text(text, encoding="utf-8")

    async def run() -> list[dict[int, bytes]]:
        said = []
        for cut in (whole, octet_by_octet, at_random(1)):
            async with memory_link(echo) as connect:
                said.append(await run_transcript(path, connect, cut, warp))
        return said

    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        first, second, third = runner.run(run())
    assert first == second == third
    return first


def test_a_dialogue(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        "# What it is about.\n# In two lines.\n\n"
        "S: hello\nC: one two\nS: one $x\nC: $x $$y ab<x*3><->\nC:  c\nS: two $$y abxxx c\n"
        "C2: second        # another connection\nS2: ...\nS2: second\n"
        "C: a\nC: b\nC: c\nS?: c\nS?: a\nS?: b\nC: d\nC: e\nS: ...\nS!: x\nS: e\n"
        "(wait 1h)\nS: too late\n(closed)\n(close 2)\n",
    )
    assert said[1] == b"hello\r\none two\r\ntwo $y abxxx c\r\na\r\nb\r\nc\r\nd\r\ne\r\ntoo late\r\n"
    assert said[2] == b"hello\r\nsecond\r\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("S: goodbye\n", "expected goodbye"),
        ("S: hello\nC: x\nS: x\nS!: x\n(close)\n", "must not appear: x"),
        ("S: hello\nC: x\nC: y\nS: x\n(close)\n", "said more"),
        ("S: hello\nC: x x\nS: $a y\n", "expected"),
        ("S: hello\nC: 1 2\nS: $a $b\nC: 2 2\nS: $a $b\n", "expected"),
        ("S: hello\nC: a\nC: b\nS?: a\nS?: c\n", "expected c"),
        ("S: hello\nC: bye\nS: more\n", "closed"),
        ("S: hello\nC: bye\nS: ...\nS: more\n", "never came"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        play(tmp_path, text)


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "test.txt"
    path.write_text("# About\ngiven INBOX: a.eml b.eml\ngiven role: mx\nC: x\n")
    transcript = read_transcript(path)
    assert transcript.about == "About"
    assert transcript.given == (("INBOX", "a.eml b.eml"), ("role", "mx"))
    path.write_text("(dance)\n")
    with pytest.raises(ValueError, match=r"test\.txt:1"):
        read_transcript(path)


def test_spelling() -> None:
    assert spell("<NUL><CR><LF><xff><a*3> <a@b> $x $$", {"x": "y"}) == b"\0\r\n\xffaaa <a@b> y $\r\n"
    assert spell("no end<->", {}) == b"no end"


def test_the_clock_stands_until_pushed() -> None:
    clock = FakeClock()
    before = clock.now()
    clock.advance(1.5)
    assert clock.now() == before + 1500
