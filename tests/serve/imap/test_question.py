"""A search of a mailbox that no session has selected, and of a few of its messages."""

import pytest

from posthouse.mail.ids import AccountId, MailboxId
from posthouse.mail.keyword import SEEN_BIT
from posthouse.serve.imap.question import Question, matching, unselected
from posthouse.store import accounts, mailboxes
from posthouse.store.mailboxes import Box
from posthouse.store.script import NotFound
from posthouse.wire.imap.search import All, And, BodyContains, HasFlags, HeaderContains, Not
from serve.imap.dialogue import MESSAGE, connect


async def inbox(house) -> Box:
    account = (await house.store.read(accounts.list_accounts))[0].id
    row = await house.store.read(mailboxes.find, account, "INBOX")
    return Box(account, row.id)


async def test_unselected(house, door):
    async with connect(house, door) as client:
        await client.append()
        await client.append(MESSAGE.replace(b"afternoon", b"morning"), flags="\\Seen")
        await client.append(MESSAGE.replace(b"afternoon", b"evening"))
        await client.do("SELECT INBOX")
        await client.do("UID STORE 3 +FLAGS (\\Deleted)")
        await client.do("EXPUNGE")
    question = await unselected(house, await inbox(house))
    assert await matching(question, All()) == {1, 2}
    assert await matching(question, HeaderContains("subject", "morning")) == {2}
    assert await matching(question, And((Not(HasFlags(SEEN_BIT)), BodyContains("hello joe")))) == {1}


async def test_among(house, door):
    async with connect(house, door) as client:
        for _ in range(4):
            await client.append()
    box = await inbox(house)
    view = (await unselected(house, box)).view
    question = Question(house, box, view, among={2, 3, 9})
    assert await matching(question, HeaderContains("subject", "meeting")) == {2, 3}
    assert await matching(question, Not(BodyContains("hello"))) == set()


async def test_gone(house):
    with pytest.raises(NotFound):
        await unselected(house, Box(AccountId(1), MailboxId(999)))
