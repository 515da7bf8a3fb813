"""A store with people in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from household import HOSTNAME, NOW, open_store
from posthouse.store.store import Store
from posthouse.transport.house import House


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """anna@home.test and ben@work.test; the aliases info@home.test (both) and hello@home.test (Anna)."""
    store = await open_store(tmp_path / "store")
    yield store
    await store.close()


@pytest.fixture
def house(store: Store) -> House:
    """With the default limits."""
    return House(store, HOSTNAME, lambda: NOW)
