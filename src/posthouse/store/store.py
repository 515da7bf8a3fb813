"""The Store: where mail lives. One per worker; the command line opens one of its own (`open_sync`)."""

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from posthouse.mail.ids import AccountId, ModSeq
from posthouse.store.blobs import Blobs
from posthouse.store.script import Script

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """The asynchronous door. All methods are called on the event loop that opened it."""

    blobs: Blobs
    directory: Path

    @classmethod
    async def open(cls, directory: Path, readers: int = 2) -> "Store":
        """Open (and create or migrate) the store in this directory. Raises Unavailable with the reason."""
        raise NotImplementedError

    async def run(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a writing script; durable when this returns. Cancelling the caller does not undo the script.

        Raises what the script raises, and Unavailable."""
        raise NotImplementedError

    async def read(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading script on one consistent snapshot, newer than every commit already answered."""
        raise NotImplementedError

    def watch(self, account: AccountId, callback: Callable[[ModSeq], None]) -> Callable[[], None]:
        """Call back on the loop after any commit of any process that changed the account. Gives the un-watch.

        A hint, not a message: it may come late, twice, or for nothing; look at the database, also once a minute."""
        raise NotImplementedError

    async def close(self) -> None:
        """Finish what is queued, then close."""
        raise NotImplementedError


class SyncStore:
    """The same for the command line: `with open_sync(directory) as store: store.run(accounts.add_domain, name)`."""

    blobs: Blobs

    def run(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a writing script; durable when this returns; running workers are told."""
        raise NotImplementedError

    def read(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading script."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError

    def __enter__(self) -> "SyncStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_sync(directory: Path, *, create: bool = True) -> SyncStore:
    """Open the store for one command. With create=False a missing database is Unavailable, not made."""
    raise NotImplementedError
