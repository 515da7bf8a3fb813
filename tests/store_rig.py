"""A furnished store, and messages for it: for every test that needs mail to be there."""

from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.ids import AccountId, Millis
from posthouse.mail.structure import describe
from posthouse.mail.summary import summarize
from posthouse.store import accounts, mailboxes
from posthouse.store.accounts import Credential, ScramSecret
from posthouse.store.blobs import Octets
from posthouse.store.emails import NewEmail
from posthouse.store.mailboxes import Box
from posthouse.store.store import Store, SyncStore

NOW = Millis(1_700_000_000_000)
CREDENTIAL = Credential("$argon2id$test", ScramSecret(b"salt", 4096, b"stored", b"server"))


class Rig:
    """A store with two users of home.test, and short words for what every test does."""

    def __init__(self, store: SyncStore) -> None:
        self.store = store
        self.run = store.run
        self.read = store.read
        self.anna, self.ben = furnish(store)

    def box(self, name: str = "INBOX") -> Box:
        """A mailbox of anna's, made when it is not there."""
        row = self.read(mailboxes.find, self.anna, name) or self.run(mailboxes.create, self.anna, name)
        return row.box

    def email(self, octets: Octets | None = None, flags: int = 0, keywords: tuple[str, ...] = ()) -> NewEmail:
        """A message ready to be kept."""
        return new_email(self.store, octets if octets is not None else message(), flags, keywords)


def furnish(store: SyncStore) -> tuple[AccountId, AccountId]:
    """The domain home.test with anna and ben."""
    store.run(accounts.add_domain, Domain("home.test"))
    return (
        store.run(accounts.add_account, address("anna@home.test"), CREDENTIAL),
        store.run(accounts.add_account, address("ben@home.test"), CREDENTIAL),
    )


def address(text: str) -> Address:
    """An address that is one."""
    found = parse_address(text)
    assert found is not None
    return found


_number = iter(range(1, 1 << 40))


def message(size: int = 300) -> bytes:
    """A message unlike all others."""
    number = next(_number)
    head = b"From: anna@home.test\r\nSubject: number %d\r\nMessage-ID: <%d@home.test>\r\n\r\n" % (number, number)
    return head + (b"lorem ipsum %d\r\n" % number) * max(1, (size - len(head)) // 20)


def new_email(store: SyncStore | Store, octets: Octets, flags: int = 0, keywords: tuple[str, ...] = ()) -> NewEmail:
    """A message ready to be kept, in any store."""
    description = describe(octets)
    header = bytes(octets[: description.header_size])
    blob = store.blobs.put_sync(octets)
    return NewEmail(blob, description, header, NOW, summarize(header, NOW), flags, keywords)
