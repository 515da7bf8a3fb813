"""Watched: of which accounts a worker wants hints, for the others to see before they send one (decision 0120).

A datagram wakes a worker whether or not anybody there looks at the account. So each worker keeps a file beside its
socket, an octet for each place of PLACES, and sets the octets of the accounts that it watches: who has a hint reads one
octet first. Accounts with the same place are told alike. It is read and written by system calls, not mapped, so that
no file of somebody else's making can end a process (SIGBUS).

Who changed an account reads the octet behind the commit. So whoever sets it before reading the account misses nothing:
either the hint is sent, or what is new was read. An octet that cannot be written is a hint that is lost.
"""

import errno
import os
from contextlib import suppress

from posthouse.mail.ids import AccountId

SUFFIX = ".watched"
PLACES = 1 << 16  # octets of the file: the accounts of 5,000 sessions mostly have a place each
NOT, WATCHED = b"\0", b"\1"


class Watched:
    """This worker's accounts, each as often as it was added."""

    __slots__ = ("_file", "_folder", "_name", "_times")

    def __init__(self, folder: int, name: str) -> None:
        """Make the file `name` in the folder with this descriptor. Raises OSError."""
        self._folder, self._name = folder, name
        self._times: dict[int, int] = {}
        self._file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:  # now, and not when an octet is set: then the disk may be full
            written = os.write(self._file, NOT * PLACES)
        except OSError:
            written = 0
        if written < PLACES:
            self.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    def add(self, account: AccountId) -> None:
        """Tell of this account from now on."""
        place = account % PLACES
        times = self._times[place] = self._times.get(place, 0) + 1
        if times == 1:
            self._set(place, WATCHED)

    def remove(self, account: AccountId) -> None:
        """It was added once less."""
        place = account % PLACES
        self._times[place] -= 1
        if not self._times[place]:
            del self._times[place]
            self._set(place, NOT)

    def _set(self, place: int, octet: bytes) -> None:
        with suppress(OSError):
            os.pwrite(self._file, octet, place)

    def close(self) -> None:
        """Take the file away."""
        os.close(self._file)
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder)


class Others:
    """What the other workers watch, by the names of their files."""

    __slots__ = ("_files", "_folder")

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._files: dict[str, int | None] = {}

    def watches(self, name: str, account: AccountId) -> bool:
        """Whether that worker wants to be told of the account; a worker without such a file, as one of an older version
        is, of all."""
        if name not in self._files:
            self._files[name] = self._opened(name)
        file = self._files[name]
        if file is None:
            return True
        try:
            return os.pread(file, 1, account % PLACES) != NOT
        except OSError:
            return True

    def _opened(self, name: str) -> int | None:
        try:
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return None

    def keep(self, names: list[str]) -> None:
        """Only these are left."""
        for name in self._files.keys() - set(names):
            file = self._files.pop(name)
            if file is not None:
                os.close(file)
