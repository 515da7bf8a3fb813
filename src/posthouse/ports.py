"""The ports of a server: all bound before anything else, and clear words when one is taken."""

import contextlib
import errno
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from posthouse.config_sections import Listen
from posthouse.net.listen import BACKLOG, PortTaken, bind, bind_unix, free_port


class CannotListen(Exception):
    """A port cannot be had; the text says why, whom to ask, and what would work."""

    def __init__(self, text: str, *, taken: bool = False) -> None:
        super().__init__(text)
        self.taken = taken


@dataclass(frozen=True, slots=True)
class Bound:
    """Everything one `Listen` is: a socket for each worker, or one Unix socket for all."""

    service: str
    where: Listen
    sockets: tuple[socket.socket, ...]

    def share(self, slot: int, workers: int) -> tuple[socket.socket, ...]:
        """The sockets of one of `workers`: every socket has a worker, also when there are fewer workers now."""
        if self.where.path:
            return self.sockets
        return tuple(sock for index, sock in enumerate(self.sockets) if index % workers == slot)

    def rest(self, slot: int, workers: int) -> None:
        """Have the kernel give no more connections to the sockets of this worker, which keep the port; those that wait
        in their queues are reset. A Unix socket is of all workers and goes on."""
        for sock in () if self.where.path else self.share(slot, workers):
            with contextlib.suppress(OSError):  # it rests already
                sock.shutdown(socket.SHUT_RD)

    def wake(self, slot: int, workers: int) -> None:
        """The other way: `listen` does nothing to a socket that listens."""
        for sock in () if self.where.path else self.share(slot, workers):
            sock.listen(BACKLOG)

    def close(self) -> None:
        """Let the port go; connections that wait in its queue are reset."""
        for sock in self.sockets:
            sock.close()


def bind_all(
    listeners: Mapping[str, Sequence[Listen]], workers: int, directory: Path, held: Sequence[Bound] = ()
) -> list[Bound]:
    """Sockets for every listener. What is in `held` already is kept and, for more workers, added to. Unix paths begin
    at `directory`. Raises CannotListen; nothing new is open then."""
    wanted = [(service, where) for service, places in listeners.items() for where in places]
    ports = frozenset(where.port for _, where in wanted)
    bound: list[Bound] = []
    fresh: list[socket.socket] = []
    try:
        for service, where in wanted:
            had = next((one.sockets for one in held if one.where == where), ())
            more = _bind_one(where, 1 if where.path else workers, directory, had)
            fresh += more
            bound.append(Bound(service, where, (*had, *more)))
    except PortTaken as error:
        _close(fresh)
        raise CannotListen(describe_taken(service, error, ports), taken=True) from error
    except OSError as error:
        _close(fresh)
        raise CannotListen(_describe(service, where, error)) from error
    return bound


def _bind_one(where: Listen, count: int, directory: Path, had: Sequence[socket.socket]) -> list[socket.socket]:
    if len(had) >= count:
        return []
    if where.path:
        return [bind_unix(directory / where.path)]
    return bind(where.host, where.port, count - len(had), shared=bool(had))


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def describe_taken(service: str, error: PortTaken, avoid: frozenset[int] = frozenset()) -> str:
    """Who has the port, whom to ask, and which port is free."""
    if not error.port:
        return f"{service}: another process listens on {error.host} already; stop it first."
    place = f"port {error.port} ({service})"
    holder = who_listens(error.port)
    if holder is None:
        who = f"by another user's process: `sudo ss -ltnp 'sport = :{error.port}'` names it"
    else:
        who = f"by {holder}"
    free = free_port(error.host, error.port, avoid)
    return f"{place} is taken {who}. Stop it, or use another port: {free} is free."


def _describe(service: str, where: Listen, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "ports below 1024 are for root: start as root and set `user`" if where.port else "check its folder"
        return f"{service}: not allowed to listen on {where}: {hint}."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{service}: this machine has no address {where.host}; `ip address` lists what it has."
    return f"{service}: cannot listen on {where}: {error.strerror or error}."


def who_listens(port: int) -> str | None:
    """The name and number of the process that listens on a TCP port, or None where the system does not tell us."""
    import psutil  # type: ignore[import-untyped]  # it has no types; imported only where something went wrong

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                return None if connection.pid is None else _process(connection.pid)
    return None


def _process(pid: int) -> str:
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if "posthouse.worker" in process.cmdline()[:5]:
            process = process.parent() or process  # its supervisor is the one to stop: it would start another worker
        if any("posthouse" in word for word in process.cmdline()[:4]):
            return f"another Posthouse (process {process.pid})"
        return f"{process.name()} (process {pid})"
    return f"process {pid}"
