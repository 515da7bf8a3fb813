"""ESEARCH over mailboxes of one's own and of others, and its bounds."""

import pytest

from posthouse.serve.imap import multisearch
from posthouse.store import accounts, mailboxes
from posthouse.store.names import prefix_of
from posthouse.store.script import Script, sql
from serve.imap.dialogue import MESSAGE, connect


def share(mailbox: int, rights: str) -> Script[None]:
    yield sql("DELETE FROM access WHERE mailbox = $1", mailbox)
    yield sql("INSERT INTO access (mailbox, identifier, rights) VALUES ($1, $2, $3)", mailbox, "anyone", rights)


async def test_rights(house, door):
    """Named mailboxes need "r", those below a name "l" too; the others might as well not be there."""
    async with connect(house, door) as client:
        assert await client.do("ESEARCH IN (personal) ALL") == []
        others = await house.store.read(accounts.list_accounts)
        for account in [one for one in others if str(one.address) != "anna@home.test"][:1]:
            made = await house.store.run(mailboxes.create, account.id, "shared/deep")
            await house.store.run(share, made.id, "lri")
            prefix = prefix_of(account.address)
            await client.append(MESSAGE, f'"{prefix}shared/deep"')
            for rights, named, below in (("lr", 1, 1), ("r", 1, 0), ("l", 0, 0), ("", 0, 0)):
                await house.store.run(share, made.id, rights)
                said = await client.do(f'ESEARCH IN (mailboxes "{prefix}shared/deep") ALL')
                assert len(said) == named, rights
                assert len(await client.do(f'ESEARCH IN (subtree "{prefix}shared") ALL')) == below, rights
                assert len(await client.do(f'ESEARCH IN (subtree-one "{prefix}shared") ALL')) == below, rights
                assert await client.do("ESEARCH IN (personal) ALL") == []


async def test_texts_and_the_selected_mailbox(house, door):
    """The selected mailbox is searched as the client was told of it, the others as they are."""
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("CREATE there")
        for box in ("INBOX", "there"):
            await client.append(MESSAGE, box)
            await client.append(MESSAGE.replace(b"Hello Joe", b"Goodbye"), box)
        await client.do("SELECT INBOX")
        await other.append(MESSAGE, "there")
        said = await client.do('ESEARCH IN (personal) RETURN (COUNT) BODY "hello joe"')
        assert sorted(line.split(b" COUNT ")[1] for line in said) == [b"1", b"2"]
        said = await client.do("ESEARCH IN (mailboxes there) MODSEQ 1")
        assert next(line for line in said if b" ESEARCH " in line).split(b" MODSEQ ")[1].isdigit()


async def test_many_names(house, door):
    async with connect(house, door) as client:
        said = await client.fails(f"ESEARCH IN (subtree ({' '.join(['nobody'] * 201)})) ALL")
        assert said.startswith(b"BAD [LIMIT]")
        await client.do(f"ESEARCH IN (subtree ({' '.join(['nobody'] * 200)})) ALL")


async def test_many_mailboxes(house, door, monkeypatch):
    monkeypatch.setattr(multisearch, "SEARCHED", 3)
    async with connect(house, door) as client:
        for number in range(4):
            await client.do(f"CREATE wide/{number}")
        assert (await client.fails("ESEARCH IN (subtree wide) ALL")).startswith(b"NO [LIMIT]")


@pytest.mark.parametrize(
    "name", ["%", "*", "&", "&AAA-", "a//b", "Other Users", "Other Users/", "Other Users/x/y", '""']
)
async def test_odd_names(house, door, name):
    async with connect(house, door) as client:
        for source in ("mailboxes", "subtree", "subtree-one"):
            tag = client.write(f"ESEARCH IN ({source} {name}) ALL")
            assert await client.until(tag) == []
