"""From settings to a running server: the data directory and its lock, the ports, the user, the certificates."""

import contextlib
import fcntl
import grp
import logging
import os
import pwd
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from posthouse.config import ConfigError
from posthouse.config_sections import Certificate, Settings, Tls
from posthouse.ports import Bound, CannotListen, bind_all
from posthouse.store.sqlite import DATABASE
from posthouse.supervisor import Hooks, Supervisor

LOCK_FILE = "posthouse.pid"
BIND_PATIENCE = 10.0  # seconds for the workers of a supervisor that was killed to let its ports go
BIND_PAUSE = 0.1  # seconds between two tries
NOBODYS = {"run", "tls", "posthouse.toml", "lost+found"}  # what may be in a folder that is to become a data directory
CERTBOT = Path("/etc/letsencrypt")
SELF_SIGNED = "tls"  # the folder in the data directory for the certificate we make ourselves

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The server cannot start; the text says why and what to do."""

    def __init__(self, text: str, *, port_taken: bool = False) -> None:
        super().__init__(text)
        self.port_taken = port_taken


def run(settings: Settings, hooks: Hooks) -> int:
    """Serve until a signal ends it; the exit status. Raises CannotStart before anything listens."""
    owner = owner_of(settings.user)
    make_directory(settings.folder, owner)
    with locked(settings.folder) as unclean:
        bound = _bind(settings, unclean)
        try:
            _become(owner, bound, settings.folder)
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
            _remove_unix_sockets(bound, settings.folder)


# --- the data directory


def make_directory(directory: Path, owner: pwd.struct_passwd | None) -> None:
    """Make the data directory, the owner's, where it is not there yet. Raises CannotStart, also where the folder is
    somebody else's."""
    try:
        examine(directory, owner)
        new = not in_use(directory)
        for folder in (directory, directory / "run"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if new and owner is not None and os.geteuid() == 0:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise CannotStart(f"the data directory {directory} cannot be made: {error.strerror}") from error


def in_use(directory: Path) -> bool:
    """Whether a Posthouse has been in this folder. Raises OSError."""
    return any((directory / name).exists() for name in (DATABASE, LOCK_FILE))


def examine(directory: Path, owner: pwd.struct_passwd | None) -> None:
    """The folder can be the data directory: it is not there, empty, or Posthouse's and the owner's. Raises CannotStart,
    OSError."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise CannotStart(f"data: {directory} is not a directory")
    if not in_use(directory):
        if set(os.listdir(directory)) - NOBODYS:
            raise CannotStart(f"data: {directory} is not empty, and no data directory of Posthouse; choose another")
        return
    for path in (directory, directory / "run", directory / DATABASE):
        if owner is not None and path.exists() and path.stat().st_uid != owner.pw_uid:
            raise CannotStart(
                f"data: {path} does not belong to {owner.pw_name}; give it to them: chown -R {owner.pw_name}:"
                f" {directory}"
            )


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
            return bind_all(settings.listeners(), settings.workers, settings.folder)
        except CannotListen as error:
            if not error.taken or time.monotonic() >= patience:
                raise CannotStart(str(error), port_taken=error.taken) from error
        time.sleep(BIND_PAUSE)


def owner_of(user: str) -> pwd.struct_passwd | None:
    """Whom to become; None: stay who we are. Raises CannotStart."""
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
    become(owner)


def become(owner: pwd.struct_passwd) -> None:
    """Be the owner from now on, for good. Raises CannotStart where the program is closed to the owner."""
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


@contextlib.contextmanager
def acting_as(owner: pwd.struct_passwd | None) -> Iterator[None]:
    """Reach only what the owner may reach, as long as this lasts; without a change where we are not root."""
    if owner is None or os.geteuid() != 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.initgroups(owner.pw_name, owner.pw_gid)
    os.setegid(owner.pw_gid)
    os.seteuid(owner.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


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
        files = authority.self_signed(settings.folder / SELF_SIGNED, settings.hostname)
    except CertificateError as error:
        raise ConfigError([f"tls.certificates: {why_unusable(error)}"]) from error
    except OSError as error:
        raise ConfigError([f"tls: a self-signed certificate cannot be made: {error}"]) from error
    log.warning("no certificate is set: mail programs will ask whether to trust %s", files.certificate)
    made = Tls((Certificate(str(files.certificate), str(files.key)),))
    return msgspec.structs.replace(settings, tls=made)


def why_unusable(error: Exception) -> str:
    """What is wrong with a certificate, and for a file that this user may not read, what helps."""
    cause = error.__cause__
    if not isinstance(cause, PermissionError):
        return str(error)
    user, file = pwd.getpwuid(os.geteuid()), Path(cause.filename)
    group = grp.getgrgid(user.pw_gid).gr_name
    if file.is_relative_to(CERTBOT):  # closed folders, and links from one to the other; certbot keeps the group
        folders = f"{CERTBOT / 'live'} {CERTBOT / 'archive'}"
        helps = f"chgrp -R {group} {folders} && chmod -R g+rX {folders}"
    else:
        helps = f"chgrp {group} {file} && chmod g+r {file} (the folders above it must be open to them, too)"
    return f"{file}: the user {user.pw_name} may not read it; let their group do so: {helps}"
