"""What a supervisor and its workers say to each other: the orders at the start, the heartbeat afterwards."""

import os
from typing import Any

import msgspec

from posthouse.config_sections import Settings

ORDERS = 1024 * 1024  # octets; they are a few KiB, and the worker must not read for ever
# What the heartbeat pipe carries: I live; I listen; I end, put another in my place.
BEAT, READY, LEAVING = b".", b"R", b"L"
CANNOT_START = 78  # a worker's exit status (EX_CONFIG of sysexits.h): starting it again would not help
LEFT = 75  # a worker's exit status (EX_TEMPFAIL): it ended by itself to be replaced


class Orders(msgspec.Struct):
    """The settings, the listening sockets by service, the descriptor for heartbeats, which worker this is, and whether
    it comes with a start or a reload of the server, not in the place of one that ended."""

    settings: Settings
    sockets: list[tuple[str, int]]
    heartbeat: int
    slot: int
    afresh: bool = False


def print_orders(orders: Orders) -> bytes:
    """One line."""
    return msgspec.json.encode(orders, enc_hook=int) + b"\n"


def read_orders(descriptor: int) -> Orders:
    """The line, from a pipe that stays open behind it. Raises EOFError, msgspec.DecodeError."""
    octets = b""
    while not octets.endswith(b"\n"):
        more = os.read(descriptor, ORDERS)
        octets += more
        if not more or len(octets) > ORDERS:
            raise EOFError("the supervisor gave no orders")
    return msgspec.json.decode(octets, type=Orders, dec_hook=_revive)


def _revive(kind: type, value: Any) -> object:
    return kind(value)  # Octets
