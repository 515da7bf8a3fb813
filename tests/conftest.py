"""How much Hypothesis tries, and the store with people in it that the tests of transport and serve begin with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from household import open_store
from posthouse.store.store import Store
from thorough import THOROUGH, examples

# No deadline: a machine with other work makes any example slow, and what must be fast is measured by tests of its own.
settings.register_profile("posthouse", deadline=None, derandomize=not THOROUGH, max_examples=examples(100))
settings.load_profile("posthouse")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """anna@home.test and ben@work.test; the aliases info@home.test (both) and hello@home.test (Anna)."""
    store = await open_store(tmp_path / "store")
    yield store
    await store.close()
