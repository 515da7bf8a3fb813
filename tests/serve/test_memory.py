"""What hashing took is given back, and only when nobody else logs in (decision 0063)."""

import asyncio
import platform
import subprocess
import sys
import threading
import time

import pytest

from household import PASSWORD
from posthouse.serve import login
from posthouse.serve.limits import PeerLimits, Peers, WorkerLimits
from posthouse.serve.login import Door

MEASURE = """
import threading, psutil
from posthouse.serve.passwords import HASHER
from posthouse.serve.memory import give_back

def resident():
    return psutil.Process().memory_info().rss >> 20

def work():
    for _ in range(3):
        HASHER.hash("secret")
    kept = resident()
    give_back()
    print(kept - resident())

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it so")
def test_a_thread_gives_back_what_it_freed() -> None:
    found = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True)
    assert int(found.stdout) >= 15  # MiB, of 19


async def test_each_hashing_thread_gives_back_when_all_rest(store, monkeypatch):
    given: list[str] = []
    monkeypatch.setattr(login, "REST_SECONDS", 600.0)
    monkeypatch.setattr(login, "TOGETHER_SECONDS", 30.0)
    monkeypatch.setattr(login, "give_back", lambda: given.append(threading.current_thread().name))
    door = Door(store, Peers(PeerLimits(), time.monotonic), limits=WorkerLimits(hash_threads=3))
    for password in (PASSWORD, "wrong"):
        await door._matches(None, password.encode())
    assert not given  # another may come
    monkeypatch.setattr(login, "REST_SECONDS", 0.1)
    await door._matches(None, b"the last for now")
    for _ in range(600):
        if len(given) == 3:
            break
        await asyncio.sleep(0.05)
    assert len(set(given)) == 3
    await door._matches(None, b"another")
    door.close()
    await asyncio.sleep(0.4)
    assert len(given) == 3
