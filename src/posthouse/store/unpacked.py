"""Pages of header texts, unpacked, that a worker keeps of the accounts that were searched last (decision 0062).

Whoever searches once searches again, with one letter more. The pages of Subject, From and recipients are small and
nearly all of the time goes into unpacking them. A page is known by its block, and a block by its seal: Emails only
come to the end of a block and only leave it, so the same count and the same last Email mean the same Emails.
"""

from collections import OrderedDict

from posthouse.mail.ids import AccountId
from posthouse.store.blocks import Block
from posthouse.store.pages import Kind

KEPT_OCTETS = 16 << 20  # of all pages a worker keeps; those of 100,000 messages take 12 MB for Subject and From
SMALL = frozenset({Kind.SUBJECT, Kind.SENDER, Kind.PEOPLE})  # what is kept, and whose texts they are
OVERHEAD = 200  # octets that Python takes for each page beside its octets


class Unpacked:
    """The pages. All methods are called in one thread."""

    def __init__(self) -> None:
        self._generation = ""
        self._octets = 0
        self._accounts: OrderedDict[AccountId, dict[int, tuple[Block, bytes]]] = OrderedDict()

    def begin(self, account: AccountId, generation: str) -> None:
        """From now on pages of this account are asked for; those of another generation are forgotten."""
        if generation != self._generation:
            self._accounts.clear()
            self._generation, self._octets = generation, 0
        self._accounts.setdefault(account, {})
        self._accounts.move_to_end(account)

    def get(self, block: Block, kind: int) -> bytes | None:
        """The octets of a page, if they are kept."""
        kept = self._newest.get(block.id << 3 | kind)
        return kept[1] if kept is not None and kept[0] == block else None

    def put(self, block: Block, kind: int, octets: bytes) -> None:
        """Keep a page if there is room, or if there is some when the pages of other accounts are forgotten."""
        number, pages = block.id << 3 | kind, self._newest
        if number in pages:
            self._octets -= _size(pages.pop(number)[1])
        while self._octets + _size(octets) > KEPT_OCTETS and len(self._accounts) > 1:
            _, forgotten = self._accounts.popitem(last=False)
            self._octets -= sum(_size(old) for _, old in forgotten.values())
        if self._octets + _size(octets) <= KEPT_OCTETS:
            pages[number] = (block, octets)
            self._octets += _size(octets)

    @property
    def _newest(self) -> dict[int, tuple[Block, bytes]]:
        return self._accounts[next(reversed(self._accounts))]


def _size(octets: bytes) -> int:
    return len(octets) + OVERHEAD
