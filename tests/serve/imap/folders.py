"""The small model of an account: folders, messages and what a command does to them. Nothing of Posthouse is used."""

import copy
from dataclasses import dataclass, field

DELETED = "\\deleted"


@dataclass(eq=False)
class Email:
    """What all copies of a message share (docs/decisions, 0002): its flags without \\Deleted."""

    flags: set[str]


@dataclass(eq=False)
class Message:
    """An Email in a folder."""

    email: Email
    deleted: bool

    @property
    def flags(self) -> frozenset[str]:
        """As FETCH shows them."""
        return frozenset(self.email.flags | ({DELETED} if self.deleted else set()))


@dataclass
class Folder:
    """A mailbox."""

    name: str
    uidnext: int = 1
    messages: dict[int, Message] = field(default_factory=dict)

    def put(self, message: Message) -> int:
        """One more; its UID."""
        self.messages[self.uidnext] = message
        self.uidnext += 1
        return self.uidnext - 1

    @property
    def truth(self) -> dict[int, frozenset[str]]:
        """UID to flags."""
        return {uid: message.flags for uid, message in self.messages.items()}


@dataclass(frozen=True)
class Deed:
    """A command that changes messages of the folder `key`. `uids`: those it names; `lost`: it also names, by number,
    messages that are gone already."""

    word: str
    key: int
    uids: tuple[int, ...] = ()
    by_uid: bool = False
    lost: bool = False
    mode: str = ""
    flags: frozenset[str] = frozenset()
    target: int = 0
    count: int = 1  # of messages, for APPEND


@dataclass(frozen=True)
class Outcome:
    """What must be answered: OK or not; for COPY, MOVE and APPEND the UIDs there and here; for STORE who was meant."""

    ok: bool
    uids: tuple[int, ...] = ()
    given: tuple[int, ...] = ()


class Account:
    """All folders by a number that a rename does not change."""

    def __init__(self) -> None:
        self.folders: dict[int, Folder] = {}
        self._made = 0

    def make(self, name: str) -> int:
        """A new folder; its key."""
        self._made += 1
        self.folders[self._made] = Folder(name)
        return self._made

    def named(self, name: str) -> int:
        """The key of a folder."""
        return next(key for key, folder in self.folders.items() if folder.name == name)

    def copy(self) -> "Account":
        """The same, to try something on."""
        return copy.deepcopy(self)

    @property
    def truth(self) -> dict[str, tuple[int, dict[int, frozenset[str]]]]:
        """Name to UIDNEXT and messages."""
        return {folder.name: (folder.uidnext, folder.truth) for folder in self.folders.values()}

    def apply(self, deed: Deed) -> Outcome:
        """Do it."""
        folder = self.folders[deed.key]
        there = tuple(uid for uid in deed.uids if uid in folder.messages)
        match deed.word:
            case "APPEND":
                return Outcome(True, given=tuple(folder.put(_new(deed.flags)) for _ in range(deed.count)))
            case "STORE":
                for uid in there:
                    _store(folder.messages[uid], deed)
                return Outcome(True, there)
            case "REPLACE":
                return self._replace(deed, folder, there)
            case "COPY" | "MOVE":
                return self._transfer(deed, folder, there)
            case _:  # EXPUNGE: of all, or of those named
                return _expunge(folder, deed, there)

    def _transfer(self, deed: Deed, folder: Folder, there: tuple[int, ...]) -> Outcome:
        if not deed.by_uid and (deed.lost or len(there) < len(deed.uids)):
            return Outcome(False)
        target = self.folders[deed.target]
        before = [folder.messages[uid] for uid in there]
        given = tuple(target.put(Message(message.email, message.deleted)) for message in before)
        if deed.word == "MOVE":
            for uid in there:
                del folder.messages[uid]
        return Outcome(True, there, given)

    def _replace(self, deed: Deed, folder: Folder, there: tuple[int, ...]) -> Outcome:
        """Both or neither (RFC 8508 §3)."""
        if not there:
            return Outcome(False)
        given = self.folders[deed.target].put(_new(deed.flags))
        del folder.messages[there[0]]
        return Outcome(True, there, (given,))

    def empty_inbox(self, name: str) -> int:
        """RENAME INBOX: its messages go to a new folder, where they keep their UIDs (RFC 9051 §6.3.6)."""
        inbox = self.folders[self.named("INBOX")]
        key = self.make(name)
        self.folders[key].uidnext, self.folders[key].messages = inbox.uidnext, inbox.messages
        inbox.messages = {}
        return key


def _new(flags: frozenset[str]) -> Message:
    return Message(Email(set(flags - {DELETED})), DELETED in flags)


def _store(message: Message, deed: Deed) -> None:
    flags = changed(message.flags, deed.mode, deed.flags)
    message.email.flags = set(flags - {DELETED})
    message.deleted = DELETED in flags


def changed(flags: frozenset[str], mode: str, by: frozenset[str]) -> frozenset[str]:
    """FLAGS, +FLAGS or -FLAGS (RFC 9051 §6.4.6)."""
    return by if mode == "" else flags | by if mode == "+" else flags - by


def _expunge(folder: Folder, deed: Deed, there: tuple[int, ...]) -> Outcome:
    among = there if deed.by_uid else tuple(folder.messages)
    gone = tuple(uid for uid in among if folder.messages[uid].deleted)
    for uid in gone:
        del folder.messages[uid]
    return Outcome(True, gone)
