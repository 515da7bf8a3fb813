"""Settings of quotas: how much users may keep unless others say, and who may say. Part of config.py."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from posthouse.config_octets import Octets
from posthouse.mail.address import parse_address
from posthouse.mail.spelling import why_no_address

if TYPE_CHECKING:
    from posthouse.store.quota import Rules

Amount = Annotated[int, Meta(ge=0)]


class QuotaSection(Struct, frozen=True):
    """How much the mailboxes of a user may hold; 0 is no limit."""

    storage: Octets = Octets(0)
    messages: Amount = 0
    mailboxes: Amount = 0
    refuse: Literal["temporary", "permanent"] = "temporary"
    overdraft_percent: Annotated[int, Meta(ge=0, le=100)] = 10
    overdraft_storage: Octets = Octets(50 * 1024 * 1024)
    overdraft_messages: Annotated[int, Meta(ge=0)] = 100
    warn_percent: tuple[Annotated[int, Meta(ge=1, le=100)], ...] = (80, 95)
    administrators: tuple[str, ...] = ()


def problems(quota: QuotaSection) -> Iterator[str]:
    """What cannot be meant, a sentence each."""
    for index, name in enumerate(quota.administrators):
        if parse_address(name) is None:
            yield f"quota.administrators[{index}]: {name!r} is no address: {why_no_address(name)}"
    if list(quota.warn_percent) != sorted(set(quota.warn_percent)):
        yield "quota.warn_percent: each percentage once, the lowest first"


def rules_of(quota: QuotaSection) -> "Rules":
    """The section as the store knows it."""
    from posthouse.store.quota import LARGEST, Limits, Rules  # only where it is needed: it costs an import

    storage = min(int(quota.storage), LARGEST)
    default = Limits(storage or None, quota.messages or None, quota.mailboxes or None)
    return Rules(default, quota.overdraft_percent, int(quota.overdraft_storage), quota.overdraft_messages)
