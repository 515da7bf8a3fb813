"""How long `posthouse try` takes from nothing to ready."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READY = b"Ctrl-C"
LIMIT = 20.0  # seconds; a start that takes longer is a failure, not a figure


def start_times(count: int) -> list[float]:
    """Seconds from the command to the line that says what to do next, each time in a new folder."""
    return [start_time() for _ in range(count)]


def start_time() -> float:
    folder = Path(tempfile.mkdtemp(prefix="posthouse-try-"))
    program = Path(sys.executable).parent / "posthouse"
    began = time.monotonic()
    command = [program, "try", "--any-port", "--dir", folder / "data"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if READY in line:
                return time.monotonic() - began
        sys.exit(f"posthouse try ended with {process.wait()} before it was ready")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT)
        shutil.rmtree(folder)
