"""How much Hypothesis tries: the usual on every run, ten times as much with POSTHOUSE_THOROUGH=1."""

import os

from hypothesis import settings

# No deadline: a machine with other work makes any example slow, and what must be fast is measured by tests of its own.
settings.register_profile("usual", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=1_000)
settings.load_profile("thorough" if os.environ.get("POSTHOUSE_THOROUGH") else "usual")
