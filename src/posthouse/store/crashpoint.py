"""Named places where a test lets the process die by SIGKILL (limits.md, part 4)."""

import os
import signal

# Every name there is, with the fault of limits.md it belongs to. A typing error in a test or a call is found here.
CRASHPOINTS: tuple[str, ...] = (
    "smtp.data_half_read",  # F-01a
    "store.blob_written",  # F-01b: the large blob's file is written, not yet synced
    "store.blob_synced",  # F-01b: synced with its directory, no row names it yet
    "store.before_begin",  # F-01b: scripts are queued, the transaction has not begun
    "store.before_commit",  # F-01c: all statements done, COMMIT not yet called
    "store.after_commit",  # F-01c, F-01d: durable, nobody has been told
    "smtp.before_commit",  # F-01b
    "smtp.after_commit_before_250",  # F-01d
    "imap.append_after_commit",  # F-01d
    "store.published",  # F-01e: hints sent to other workers
    "store.inside_store_flags",  # F-04: between the statements of the script
    "store.inside_copy",  # F-04
    "store.inside_move",  # F-04
    "store.inside_expunge",  # F-04
    "store.inside_rename",  # F-04
    "store.inside_purge",  # F-04: the rows of a deleted mailbox are removed piece by piece
    "store.inside_migration",  # F-08
    "store.before_checkpoint",  # F-08
    "store.after_checkpoint",  # F-08
    "store.blob_unlinked",  # F-08: garbage collection, row gone, file gone
)


def _armed() -> tuple[str, int]:
    name, _, count = os.environ.get("POSTHOUSE_CRASH", "").partition(":")
    if not name:
        return "", 0
    if name not in CRASHPOINTS:
        raise ValueError(f"POSTHOUSE_CRASH names no crash point: {name}")
    return name, int(count or "1")


_name, _left = _armed()


def crashpoint(name: str) -> None:
    """Die here by SIGKILL at the n-th pass if POSTHOUSE_CRASH is `name:n`; else nothing."""
    global _left
    if not _name or name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
