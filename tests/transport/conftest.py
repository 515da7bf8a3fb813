"""The bundle that a session would have."""

import pytest

from household import HOSTNAME, NOW
from posthouse.store.store import Store
from posthouse.transport.house import House


@pytest.fixture
def house(store: Store) -> House:
    """With the default limits."""
    return House(store, HOSTNAME, lambda: NOW)
