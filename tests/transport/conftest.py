"""The bundle that a session would have, a clock, and what the store was really asked for."""

from collections.abc import Callable

import pytest

from fakes import Seconds
from household import HOSTNAME, NOW
from posthouse.mail.address import Address
from posthouse.store import accounts
from posthouse.store.store import Store
from posthouse.transport.house import House


@pytest.fixture
def house(store: Store) -> House:
    """With the default limits."""
    return House(store, HOSTNAME, lambda: NOW)


@pytest.fixture
def clock() -> Seconds:
    """At zero."""
    return Seconds()


@pytest.fixture
def asked_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Address]]:
    """For a verb of the accounts, whose last argument is an address: the addresses it was really asked for."""

    def spied(verb: str) -> list[Address]:
        seen: list[Address] = []
        really = getattr(accounts, verb)

        def spy(*args: Address) -> object:
            seen.append(args[-1])
            return really(*args)

        monkeypatch.setattr(accounts, verb, spy)
        return seen

    return spied
