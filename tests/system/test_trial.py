"""`posthouse try`: a mail system to play with, by one command, without a question."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from system.running import PROGRAM

PORTS = (2525, 1587, 1465, 1143, 1993)
READY = "Ctrl-C stops"


def taken() -> list[int]:
    """Ports of the playground on which somebody listens already."""
    found = []
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                found.append(port)
    return found
