"""From settings to a running server: the data directory and its lock, the ports, the user, the certificates."""

import contextlib
import fcntl
import logging
import os
import pwd
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from posthouse.config import Certificate, ConfigError, Settings, Tls
from posthouse.ports import Bound, CannotListen, bind_all
from posthouse.supervisor import Hooks, Supervisor

LOCK_FILE = "posthouse.pid"
BIND_PATIENCE = 3.0  # seconds for the workers of a supervisor that was killed to let its ports go
BIND_PAUSE = 0.1  # seconds between two tries
SELF_SIGNED = "tls"  # the folder in the data directory for the certificate we make ourselves

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The server cannot start; the text says why and what to do."""

    def __init__(self, text: str, *, port_taken: bool = False) -> None:
        super().__init__(text)
        self.port_taken = port_taken


def run(settings: Settings, hooks: Hooks) -> int:
    """Serve until a signal ends it; the exit status. Raises CannotStart before anything listens."""
    owner = _owner(settings.user)
    _make_directory(settings.directory, owner)
    with locked(settings.directory) as unclean:
        bound = _bind(settings, unclean)
        try:
            _become(owner, bound, settings.directory)
            settings = with_certificates(settings)
        except BaseException:
            for one in bound:
                one.close()
            raise
        reload = hooks.reload
        if reload is not None:
            hooks = Hooks(lambda: with_certificates(reload()), hooks.ready)
        try:
            return Supervisor(settings, bound, hooks).run()
        finally:
            _remove_unix_sockets(bound, settings.directory)


# --- the data directory


def _make_directory(directory: Path, owner: pwd.struct_passwd | None) -> None:
    for folder in (directory, directory / "run"):
        if folder.exists():
            continue
        try:
            folder.mkdir(mode=0o700, parents=True)
            if owner is not None:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
        except OSError as error:
            raise CannotStart(f"the data directory {directory} cannot be made: {error.strerror}") from error


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Hold the data directory for this server; gives whether the last one ended without saying so. Raises
    CannotStart when another holds it."""
    path = directory / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CannotStart(f"the data directory {directory} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unclean = bool(os.read(descriptor, 32))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield unclean
        os.ftruncate(descriptor, 0)
    except BlockingIOError:
        raise CannotStart(
            f"Posthouse is already running on {directory} (process {running(directory)}). Stop it first, or use another"
            " data directory."
        ) from None
    finally:
        os.close(descriptor)


def running(directory: Path) -> int | None:
    """The process that serves this data directory now, or None."""
    with contextlib.suppress(OSError, ValueError), (directory / LOCK_FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read(32))
    return None


# --- ports and the user


def _bind(settings: Settings, unclean: bool) -> list[Bound]:
    patience = time.monotonic() + BIND_PATIENCE if unclean else 0.0
    while True:
        try:
            return bind_all(settings.listeners(), settings.workers, settings.directory)
        except CannotListen as error:
            if not error.taken or time.monotonic() >= patience:
                raise CannotStart(str(error), port_taken=error.taken) from error
        time.sleep(BIND_PAUSE)


def _owner(user: str) -> pwd.struct_passwd | None:
    """Whom to become; None: stay who we are."""
    if not user:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise CannotStart(f"user: this machine has no user {user}; make it: adduser --system --group {user}") from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise CannotStart(f"user: only root can become {user}; start as root, or as {user}")
    return entry


def _become(owner: pwd.struct_passwd | None, bound: list[Bound], directory: Path) -> None:
    """Root is needed until the ports are bound, and not a moment longer."""
    if os.geteuid() != 0:
        return
    if owner is None:
        log.warning("running as root; set `user` to one that has no other rights")
        return
    for one in bound:
        if one.where.path:
            os.chown(directory / one.where.path, owner.pw_uid, owner.pw_gid)
    os.chown(directory / LOCK_FILE, owner.pw_uid, owner.pw_gid)
    os.initgroups(owner.pw_name, owner.pw_gid)
    os.setgid(owner.pw_gid)
    os.setuid(owner.pw_uid)
    os.environ["HOME"] = owner.pw_dir
    for needed in (sys.executable, os.__file__, __file__):
        if not os.access(needed, os.R_OK):
            raise CannotStart(
                f"user: {owner.pw_name} cannot read {needed}, so no worker could start; install Posthouse and Python"
                " where that user can read them, not in another user's home"
            )


def _remove_unix_sockets(bound: list[Bound], directory: Path) -> None:
    for one in bound:
        if one.where.path:
            with contextlib.suppress(OSError):
                (directory / one.where.path).unlink()


# --- certificates


def with_certificates(settings: Settings) -> Settings:
    """The settings with certificates that can be used: theirs, or a self-signed one in the data directory. Raises
    ConfigError."""
    from posthouse.net import authority  # 60 ms, and no business of the supervisor's afterwards
    from posthouse.net.tls import CertificateError, CertificateFiles, load

    try:
        for one in settings.tls.certificates:
            load(CertificateFiles(Path(one.certificate), Path(one.key)))
        if settings.tls.certificates:
            return settings
        files = authority.self_signed(settings.directory / SELF_SIGNED, settings.hostname)
    except CertificateError as error:
        raise ConfigError([f"tls.certificates: {error}"]) from error
    except OSError as error:
        raise ConfigError([f"tls: a self-signed certificate cannot be made: {error}"]) from error
    log.warning("no certificate is set: mail programs will ask whether to trust %s", files.certificate)
    made = Tls((Certificate(str(files.certificate), str(files.key)),))
    return msgspec.structs.replace(settings, tls=made)
