"""serve/errors.py: every error has words in every protocol."""

import pytest

from posthouse.serve.errors import FAULT, REFUSAL_WORDS, STORE_WORDS, Words, words
from posthouse.serve.limits import Refusal
from posthouse.store import script
from posthouse.store.script import NotFound, StoreError, Unavailable


def test_every_error_of_the_store_has_words() -> None:
    kinds = {kind for kind in vars(script).values() if isinstance(kind, type) and issubclass(kind, StoreError)}
    assert set(STORE_WORDS) == kinds - {StoreError}


def test_every_refusal_has_words() -> None:
    assert set(REFUSAL_WORDS) == set(Refusal)


@pytest.mark.parametrize("row", [*STORE_WORDS.values(), *REFUSAL_WORDS.values(), FAULT])
def test_the_status_agrees_with_the_code_and_no_text_ends_in_a_full_stop(row: Words) -> None:
    smtp, (_, text) = row
    assert smtp.status.cls == smtp.code // 100
    assert not smtp.text.endswith(".")
    assert not text.endswith(".")


def test_store_failures_are_never_permanent() -> None:
    """RFC 5321 §4.2.1: the same message may be taken later."""
    assert words(Unavailable("disk full")).smtp.code == 452
    assert words(NotFound("gone")).smtp.code == 451


def test_an_unknown_kind_is_our_fault() -> None:
    class Strange(StoreError):
        pass

    class Narrow(Unavailable):
        pass

    assert words(Strange()) is FAULT
    assert words(Narrow()) is STORE_WORDS[Unavailable]
