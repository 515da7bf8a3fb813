"""The bundle that sessions get."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from household import HOSTNAME, NOW
from posthouse.mail.ids import Millis
from posthouse.net.authority import self_signed
from posthouse.net.tls import load
from posthouse.serve.limits import PeerLimits, Peers
from posthouse.serve.login import Door
from posthouse.store.moment import Moment
from posthouse.store.store import Store
from posthouse.transport.house import House


async def no_sleep(seconds: float) -> None:
    """A refusal that does not keep tests waiting."""
    await asyncio.sleep(0)


@pytest.fixture
def house(store: Store) -> House:
    """A house without TLS that lets users log in without it; its clocks stand still."""
    return House(
        store, HOSTNAME, lambda: NOW, allow_plaintext_login=True, moment=lambda now: Moment(now, Millis(0), "boot")
    )


@pytest.fixture
async def door(store: Store) -> AsyncIterator[Door]:
    """Refuses without delay; loopback is not counted."""
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)
    yield door
    door.close()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server context with a certificate of its own."""
    return load(self_signed(tmp_path_factory.mktemp("tls"), HOSTNAME))
