"""Where the real messages are: the folder POSTHOUSE_CORPUS, or ../shared/data/mail beside the repository."""

import os
from pathlib import Path

MESSAGES = 1_950


def corpus(part: str | None = None) -> list[Path]:
    """All real messages, or those of one folder of them. They are needed: without them the test fails and says where it
    looked."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "mail"
    folder = Path(os.environ.get("POSTHOUSE_CORPUS", beside))
    found = sorted(folder.glob("*/*.eml"))
    assert len(found) >= MESSAGES, (
        f"{len(found)} of {MESSAGES} real messages found in {folder}; set POSTHOUSE_CORPUS to the folder with them"
    )
    return [path for path in found if part in (None, path.parent.name)]
