"""How long clients wait whose worker is killed: the kernel keeps them in the queue until another takes its place."""

import os
import signal
import socket
import time

import psutil

CLIENTS = 20  # with two workers, about ten of them wait for the one that is gone
SETTLED = 6.0  # seconds a worker must have lived before, or the supervisor holds the next one back
LIMIT = 20.0  # seconds; longer is a failure, not a figure


def revival_times(supervisor: int, port: int, count: int) -> list[float]:
    """Seconds from SIGKILL of a worker until the last of CLIENTS that connect right then is greeted."""
    return [revival_time(supervisor, port) for _ in range(count)]


def revival_time(supervisor: int, port: int) -> float:
    time.sleep(SETTLED)
    victim = psutil.Process(supervisor).children()[0].pid
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    clients = [socket.create_connection(("127.0.0.1", port), timeout=LIMIT) for _ in range(CLIENTS)]
    for client in clients:
        if client.recv(3) != b"220":
            raise AssertionError("a waiting client was not greeted")
        client.close()
    return time.monotonic() - began
