"""Stores for the tests; each is checked for consistency when its test is over."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from posthouse.store.store import Store, open_sync
from store.fsck import consistency
from store.queue_rig import QueueRig
from store_rig import Rig, furnish


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A synchronous store with anna and ben."""
    with open_sync(tmp_path / "data") as store:
        yield Rig(store)
        assert store.read(consistency) == []


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An asynchronous store with anna and ben."""
    with open_sync(tmp_path / "data") as first:
        furnish(first)
    opened = await Store.open(tmp_path / "data")
    try:
        yield opened
        assert await asyncio.wait_for(opened.read(consistency), 30) == []
    finally:
        await opened.close()


@pytest.fixture
def line(rig: Rig) -> QueueRig:
    """The queue of that synchronous store."""
    return QueueRig(rig.store)
