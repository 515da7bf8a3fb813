"""How much chance there is in a run of the tests."""

import os

# The usual run tries the same examples each time, so that a red one tells of what was changed and can be repeated.
# POSTHOUSE_THOROUGH=1 looks for what nobody thought of: ten times as many, others each time.
THOROUGH = bool(os.environ.get("POSTHOUSE_THOROUGH"))


def examples(usual: int) -> int:
    """How many to try, in the place of `max_examples`."""
    return 10 * usual if THOROUGH else usual
