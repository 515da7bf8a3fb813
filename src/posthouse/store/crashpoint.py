"""Named places where a test lets the process die by SIGKILL (durability.md)."""

import os
import signal

_VARIABLE = "POSTHOUSE_CRASH"

# Every name there is, so that a typing error in a test or a call is found here.
CRASHPOINTS: tuple[str, ...] = (
    "smtp.data_half_read",
    "store.blob_written",  # the large blob's file is written, not yet synced
    "store.blob_synced",  # synced with its directory, no row names it yet
    "store.before_begin",  # scripts are queued, the transaction has not begun
    "store.before_commit",  # all statements done, COMMIT not yet called
    "store.after_commit",  # durable, nobody has been told
    "smtp.before_commit",
    "smtp.after_commit_before_250",
    "imap.append_after_commit",
    "store.published",  # hints sent to other workers
    "store.inside_store_flags",  # between the statements of the script
    "store.inside_copy",
    "store.inside_move",
    "store.inside_expunge",
    "store.inside_restore",  # the placement is made, what was kept is still there
    "store.inside_set_aside",  # a user is being removed, and kept
    "store.inside_bring_back",
    "store.inside_rename",
    "store.inside_purge",  # the rows of a deleted mailbox are removed piece by piece
    "store.inside_migration",
    "store.before_checkpoint",
    "store.after_checkpoint",
    "queue.inside_claim",  # leased, not committed
    "queue.inside_settle",  # between the item and its destination
    "queue.claimed",  # leased and committed, not yet sent
    "queue.before_settle",  # sent, not written down
    "queue.before_letter",  # inside the transaction: settled, its bounce not yet written
    "store.blob_unlinked",  # garbage collection, row gone, file gone
)


def disarm() -> None:
    """Processes that this one starts from here on do not die: somebody must take over from the dead."""
    os.environ.pop(_VARIABLE, None)


def _armed() -> tuple[str, int]:
    name, _, count = os.environ.get(_VARIABLE, "").partition(":")
    if not name:
        return "", 0
    if name not in CRASHPOINTS:
        raise ValueError(f"{_VARIABLE} names no crash point: {name}")
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
