"""wire/buffer.py."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.buffer import HIGH_WATER, ReceiveBuffer


def test_lines_come_with_their_ends() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"one\r\ntwo\nthr")
    assert [buffer.take_line(), buffer.take_line(), buffer.take_line()] == [b"one\r\n", b"two\n", None]
    buffer.append(b"ee\r\n")
    assert buffer.take_line() == b"three\r\n"
    assert len(buffer) == 0


def test_counted_octets() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"abc")
    assert buffer.take(4) is None
    assert buffer.peek(9) == b"abc"
    assert buffer.take(2) == b"ab"
    assert buffer.take_up_to(9) == b"c"
    assert buffer.take_up_to(9) == b""
    assert buffer.take(0) == b""


def test_dropping() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"long line without")
    assert buffer.drop_line() == (17, False)
    buffer.append(b" end\nnext")
    assert buffer.drop_line() == (5, True)
    assert buffer.drop(2) == 2
    assert buffer.drop(9) == 2


def test_giving_back() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"a\nb\n")
    taken = buffer.take_all()
    buffer.append(b"c\n")
    buffer.give_back(taken[2:])
    assert buffer.take_line() == b"b\n"
    assert buffer.take_line() == b"c\n"


def test_clear_forgets() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"secret")
    buffer.clear()
    assert len(buffer) == 0
    assert buffer.take_line() is None


def test_full_above_high_water() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"x" * HIGH_WATER)
    assert not buffer.full
    buffer.append(b"x")
    assert buffer.full
    buffer.drop(1)
    assert not buffer.full


def test_a_line_octet_by_octet_is_searched_once() -> None:
    """200,000 octets one by one would be 20,000,000,000 comparisons if each search began at the start."""
    buffer = ReceiveBuffer()
    for _ in range(200_000):
        buffer.append(b"x")
        assert buffer.take_line() is None
    buffer.append(b"\n")
    assert buffer.take_line() == b"x" * 200_000 + b"\n"


@given(st.lists(st.binary(max_size=6)), st.lists(st.sampled_from(["line", "take", "some", "drop", "back"])))
def test_nothing_is_lost_or_reordered(chunks: list[bytes], verbs: list[str]) -> None:
    buffer, left = ReceiveBuffer(), b""
    for number, verb in enumerate(verbs):
        if chunks:
            left += chunks[0]
            buffer.append(chunks.pop(0))
        match verb:
            case "line":
                line = buffer.take_line()
                end = left.find(b"\n") + 1
                assert line == (left[:end] if end else None)
                left = left[end:]
            case "take":
                taken = buffer.take(number % 4)
                assert taken == (left[: number % 4] if len(left) >= number % 4 else None)
                left = left[len(taken or b"") :]
            case "some":
                assert buffer.take_up_to(number % 4) == left[: number % 4]
                left = left[number % 4 :]
            case "drop":
                assert buffer.drop(number % 3) == min(number % 3, len(left))
                left = left[number % 3 :]
            case _:
                buffer.give_back(buffer.take_up_to(2))
        assert len(buffer) == len(left)
    assert buffer.take_all() == left
