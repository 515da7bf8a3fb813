"""Where transcripts of mail programs are played against the real program: one server for all, a user for each."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fakes import SocketStream
from household import ANNA, BEN, credential
from posthouse.mail.address import Address
from posthouse.store import accounts
from posthouse.store.store import SyncStore, open_sync
from system.running import Running

# The delay of refusals has tests of its own. The settings end with [limits.peer].
AT_ONCE = "refusal_seconds = 0.1\n"
ADMINISTRATORS = ("quota-administrator",)  # transcripts whose users may set quotas


def own_user(path: Path) -> Address:
    """The user of a transcript."""
    return Address(path.stem, ANNA.domain)


@contextlib.contextmanager
def real_program(
    folder: Path, transcripts: Iterable[Path], furnish: Callable[[SyncStore], None] = lambda _: None
) -> Iterator[Running]:
    """The real program with two workers, and a user for every transcript."""
    running = Running(folder)
    administrators = [f"{name}@{ANNA.domain}" for name in ADMINISTRATORS]
    quota = f"[quota]\nadministrators = {json.dumps(administrators)}\n"
    running.settings.write_text(running.settings.read_text() + AT_ONCE + quota)
    with open_sync(running.data) as store:
        store.run(accounts.add_domain, ANNA.domain)
        store.run(accounts.add_domain, BEN.domain)
        for person in [ANNA, BEN, *map(own_user, transcripts)]:
            store.run(accounts.add_account, person, credential())
        furnish(store)
    running.start()
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]


async def dial(port: int, *, tls: bool) -> SocketStream:
    """A connection to it, with TLS from the first octet where wanted."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    stream = SocketStream(sock)
    if tls:
        await stream.starttls()
    return stream
