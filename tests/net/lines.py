"""The smallest engine: each line is an event."""


class Lines:
    """What a Link needs of an engine, and no more."""

    def __init__(self) -> None:
        self.buffer = b""
        self.ended = 0

    def receive(self, data: bytes, /) -> None:
        self.ended += data == b""
        self.buffer += data

    def next_event(self) -> bytes | None:
        line, newline, rest = self.buffer.partition(b"\n")
        if not newline:
            return None
        self.buffer = rest
        return line

    def starttls(self) -> None:
        self.buffer = b""
