"""Messages compressed together are kept as if each had come alone, in the order in which they came."""

import pytest

from posthouse.store.blobs import AT_ONCE_SIZE, INLINE_SIZE
from posthouse.store.packing import TOGETHER, TOGETHER_OCTETS, Packing
from posthouse.store.store import Store

SMALL = [b"message %d " % number * 20 for number in range(3 * TOGETHER + 5)]
TOO_MUCH = [bytes([number]) * (TOGETHER_OCTETS // 3) for number in range(11)]
LARGE = b"large " * (AT_ONCE_SIZE // 5)


@pytest.mark.parametrize(
    "several",
    [[], SMALL[:1], SMALL[:TOGETHER], SMALL, TOO_MUCH, [*SMALL[:3], LARGE, *SMALL[3:], LARGE], [LARGE]],
    ids=["none", "one", "one call", "several calls", "large calls", "large ones between", "a large one"],
)
async def test_blobs_are_those_of_messages_put_alone(store: Store, several: list[bytes]) -> None:
    packing = Packing(store.blobs)
    for octets in several:
        assert await packing.add(octets) is None
    assert await packing.all() == [store.blobs.put_sync(octets) for octets in several]


async def test_only_what_is_in_a_file_is_told(store: Store) -> None:
    packing = Packing(store.blobs)
    assert await packing.add(SMALL[0]) is None
    filed = await packing.add(bytes(INLINE_SIZE + 1))
    assert filed is not None
    assert filed.file is not None
    assert (await packing.all())[1] == filed


async def test_how_many_wait(store: Store) -> None:
    """None after those that came have been handed over, or a large one was put behind them."""
    packing = Packing(store.blobs)
    counts = []
    for octets in [*SMALL[: TOGETHER + 2], LARGE, SMALL[0]]:
        await packing.add(octets)
        counts.append(packing.waiting)
    assert counts == [*range(1, TOGETHER), 0, 1, 2, 0, 1]
    await packing.all()


async def test_given_up_while_a_call_runs(store: Store) -> None:
    packing = Packing(store.blobs)
    for octets in SMALL:
        await packing.add(octets)
    packing.close()
