"""How much Hypothesis tries, and the store with people in it that the tests of transport and serve begin with."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from household import open_store
from posthouse.store.store import Store

# The usual on every run, ten times as much with POSTHOUSE_THOROUGH=1.
# No deadline: a machine with other work makes any example slow, and what must be fast is measured by tests of its own.
settings.register_profile("usual", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=1_000)
settings.load_profile("thorough" if os.environ.get("POSTHOUSE_THOROUGH") else "usual")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """anna@home.test and ben@work.test; the aliases info@home.test (both) and hello@home.test (Anna)."""
    store = await open_store(tmp_path / "store")
    yield store
    await store.close()
