"""serve/imap: whole sessions over a socket."""

from dialogue import connect


async def test_a_first_look(house, door):
    async with connect(house, door) as c:
        print(c.greeting)

        async def show(cmd):
            for l in await c.until(c.write(cmd)):
                print(l)
            print(c.last)

        await show("CAPABILITY")
        await show('LIST "" *')
        await show('LIST "" ""')
        await show('LIST (SUBSCRIBED) "" (% Drafts) RETURN (STATUS (MESSAGES SIZE))')
        await show('LSUB "" *')
        await show("STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY DELETED SIZE RECENT)")
        for i in range(3):
            await c.append()
            print(c.last)
        await show("SELECT INBOX")
        await show("FETCH 1:* ALL")
        await show("FETCH 1 (BODY[HEADER.FIELDS (Subject)] BODY.PEEK[TEXT]<0.5> BODYSTRUCTURE BINARY.SIZE[1] BODY)")
        await show("UID FETCH 2:* BODY[]")
        await show("STORE 1 +FLAGS (\\Deleted $Forwarded foo)")
        await show("SEARCH DELETED")
        await show('SEARCH TEXT "hello" SUBJECT meeting SENTON 7-Feb-1994 NOT DELETED')
        await show("SEARCH RETURN (MIN MAX COUNT ALL SAVE) UNDELETED")
        await show("FETCH $ FLAGS")
        await show("COPY 2 Drafts")
        await show("MOVE 2 Archive")
        await show("EXPUNGE")
        await show("UID EXPUNGE 1:*")
        await show("CREATE a/b/c")
        await show("RENAME a x")
        await show("DELETE x/b")
        await show('LIST "" x*')
        await show("RENAME INBOX y")
        await show("SELECT y")
        await show("EXAMINE y")
        await show("STORE 1 +FLAGS \\Seen")
        await show("ENABLE IMAP4rev2")
        await show("SELECT y")
        await show("SEARCH ALL")
        await show("CLOSE")
        await show("FETCH 1 FLAGS")
        await show("NAMESPACE")
        await show("ID NIL")
        await show("LOGOUT")
        assert await c.closed()
