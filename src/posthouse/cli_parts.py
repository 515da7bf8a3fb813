"""What the commands share: which server is meant, how a command comes to its store, and how it says why it cannot."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from posthouse.config_directory import DirectorySection
    from posthouse.store.store import SyncStore

Config = Annotated[Path | None, Parameter(name=["--config", "-c"], help="The settings file.")]
Stdin = Annotated[bool, Parameter(name="--password-stdin", negative=(), help="Read the password from standard input.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Which server is meant.

    Parameters
    ----------
    config
        The settings file.
    data
        The data directory, instead of the one in the settings.
    """

    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None
    data: Path | None = None


HERE = Place()


def fail(*sentences: str) -> int:
    """Say why a command cannot be done; the exit status for it."""
    for sentence in sentences:
        print(f"posthouse: {sentence}", file=sys.stderr)
    return 1


def directory_of(place: Place) -> "DirectorySection | None":
    """The directory of the settings; None where a data directory alone was named, so that they are not known."""
    from posthouse.config import load

    return None if place.data and not place.config else load(place.config).directory


def removed_days_of(place: Place) -> int | None:
    """For how many days what was removed is kept; None where the settings are not known."""
    from posthouse.config import load

    return None if place.data and not place.config else load(place.config).retention.removed_days


def do(place: Place, command: "Callable[[SyncStore], None]", *, create: bool = False) -> int:
    """Run one command on the store of a server, also while it runs. Only with `create` a new store is made."""
    from posthouse import admin
    from posthouse.config import load

    settings = None if place.data and not place.config else load(place.config)
    directory = place.data or (settings.folder if settings else Path())
    try:
        with admin.opened(directory, settings.user if settings else "", create=create) as store:
            command(store)
    except admin.Refused as error:
        return fail(str(error))
    return 0
