"""Mail is read by programs that people really use: curl, mutt in a terminal, Python's imaplib and IMAPClient."""

import datetime
import imaplib
import shutil
import subprocess
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from imapclient import IMAPClient

from system.running import Person, Running

NewPerson = Callable[..., Person]
LETTER = b"From: eve@far.test\r\nTo: anna@home.test\r\nSubject: %s\r\n\r\nHello from %s.\r\n"


def curl(posthouse: Running, who: Person, path: str, *more: str) -> bytes:
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--cacert",
        str(posthouse.ca),
        "--user",
        who.address + ":" + who.password,
    ]
    url = f"imaps://localhost:{posthouse.ports.imaps}/{path}"
    return subprocess.run([*command, "--url", url, *more], capture_output=True, timeout=60, check=True).stdout


class TestCurl:
    def test_list_fetch_and_search(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        anna.receive(LETTER % (b"first", b"one"), LETTER % (b"second", b"two"))
        listed = curl(posthouse, anna, "")
        for name in (b"INBOX", b"Drafts", b"Sent", b"Junk", b"Trash", b"Archive"):
            assert name in listed
        assert curl(posthouse, anna, "INBOX;MAILINDEX=1").endswith(LETTER % (b"first", b"one"))
        assert curl(posthouse, anna, "INBOX;MAILINDEX=2;SECTION=TEXT") == b"Hello from two.\r\n"
        assert curl(posthouse, anna, "INBOX?" + urllib.parse.quote("SUBJECT second")) == b"* SEARCH 2\r\n"

    def test_upload(self, posthouse: Running, person: NewPerson, tmp_path: Path) -> None:
        anna = person()
        file = tmp_path / "draft.eml"
        file.write_bytes(LETTER % (b"draft", b"curl"))
        curl(posthouse, anna, "Drafts", "--upload-file", str(file))
        assert anna.messages("Drafts") == [LETTER % (b"draft", b"curl")]


class TestImaplib:
    def test_a_day_with_mail(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        anna.receive(*[LETTER % (b"number %d" % i, b"me") for i in range(1, 6)])
        with imaplib.IMAP4_SSL("localhost", posthouse.ports.imaps, ssl_context=posthouse.trust()) as client:
            client.login(anna.address, anna.password)
            assert client.select("INBOX") == ("OK", [b"5"])
            assert client.search(None, "SUBJECT", '"number 3"') == ("OK", [b"3"])
            [changed] = client.store("3", "+FLAGS", r"(\Seen $Work)")[1]
            assert rb"\Seen" in changed
            assert b"$work" in changed.lower()
            assert client.search(None, "UNSEEN") == ("OK", [b"1 2 4 5"])
            assert client.uid("MOVE", "1:2", "Archive")[0] == "OK"
            assert client.store("1", "+FLAGS.SILENT", r"\Deleted")[0] == "OK"
            assert client.expunge()[1][-1] == b"1"  # behind what MOVE has told
            status = client.status("INBOX", "(MESSAGES UIDNEXT UNSEEN)")[1][0]
            assert status == b"INBOX (MESSAGES 2 UIDNEXT 6 UNSEEN 2)"
            assert client.create('"Work/D&AOk-j&AOA- vu"')[0] == "OK"
            assert client.copy("1:2", "Archive")[0] == "OK"
            client.close()
        assert len(anna.messages("Archive")) == 4

    def test_starttls_and_the_plain_port(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        with imaplib.IMAP4("localhost", posthouse.ports.imap) as client:
            assert "LOGINDISABLED" in client.capabilities
            with pytest.raises(imaplib.IMAP4.error):
                client.login(anna.address, anna.password)
            client.starttls(posthouse.trust())
            assert "LOGINDISABLED" not in client.capabilities
            assert client.login(anna.address, anna.password)[0] == "OK"

    def test_append_keeps_date_flags_and_octets(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        octets = LETTER % (b"kept", b"1996")
        when = datetime.datetime(1996, 7, 17, 2, 44, 25, tzinfo=datetime.UTC)
        with imaplib.IMAP4_SSL("localhost", posthouse.ports.imaps, ssl_context=posthouse.trust()) as client:
            client.login(anna.address, anna.password)
            kind, answer = client.append("Archive", r"(\Seen \Flagged)", imaplib.Time2Internaldate(when), octets)
            assert kind == "OK"
            assert b"APPENDUID" in answer[0]
            client.select("Archive", readonly=True)
            data = client.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")[1]
        assert data[0][1] == octets
        described = data[0][0] + data[1]
        assert b'INTERNALDATE "17-Jul-1996 02:44:25 +0000"' in described
        assert b"RFC822.SIZE %d" % len(octets) in described
        assert b"\\Flagged" in described


class TestImapClient:
    @pytest.fixture
    def anna(self, person: NewPerson) -> Person:
        return person()

    @pytest.fixture
    def client(self, posthouse: Running, anna: Person) -> Iterator[IMAPClient]:
        with IMAPClient("localhost", posthouse.ports.imaps, ssl_context=posthouse.trust(), timeout=60) as client:
            client.login(anna.address, anna.password)
            yield client

    def test_folders_and_their_uses(self, client: IMAPClient) -> None:
        uses = {name: flags for flags, _delimiter, name in client.list_folders()}
        for name in ("Drafts", "Sent", "Junk", "Trash", "Archive"):
            assert b"\\" + name.encode() in uses[name]
        client.create_folder("Größe & Maß/2026")
        client.rename_folder("Größe & Maß", "名前")
        assert client.folder_exists("名前/2026")
        client.subscribe_folder("名前/2026")
        assert "名前/2026" in [name for _, _, name in client.list_sub_folders()]
        client.delete_folder("名前/2026")
        assert not client.folder_exists("名前/2026")

    def test_envelope_and_structure(self, client: IMAPClient, anna: Person) -> None:
        anna.receive(LETTER % (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", b"me"))
        client.select_folder("INBOX")
        [row] = client.fetch([1], ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE"]).values()
        assert row[b"ENVELOPE"].subject == b"=?utf-8?q?Gr=C3=BC=C3=9Fe?="
        assert row[b"ENVELOPE"].from_[0].mailbox == b"eve"
        assert row[b"BODYSTRUCTURE"][:2] == (b"text", b"plain")

    def test_idle_is_told_at_once(self, client: IMAPClient, anna: Person) -> None:
        client.select_folder("INBOX")
        client.idle()
        anna.receive(LETTER % (b"news", b"afar"))
        told = client.idle_check(timeout=60)
        client.idle_done()
        assert (1, b"EXISTS") in told

    def test_move_and_uidplus(self, client: IMAPClient, anna: Person) -> None:
        anna.receive(*[LETTER % (b"number %d" % i, b"me") for i in range(10)])
        client.select_folder("INBOX")
        uids = client.search("ALL")
        client.move(uids[:4], "Archive")
        client.add_flags(uids[4:6], [rb"\Deleted"])
        client.uid_expunge(uids[4:5])
        assert client.search("ALL") == uids[5:]
        assert client.folder_status("Archive", ["MESSAGES"]) == {b"MESSAGES": 4}

    def test_capabilities(self, client: IMAPClient) -> None:
        wanted = "IMAP4REV1 IMAP4REV2 LITERAL+ SASL-IR ID NAMESPACE IDLE UIDPLUS MOVE UNSELECT SPECIAL-USE ENABLE"
        offered = {word.upper() for word in client.capabilities()}
        assert {word.encode() for word in wanted.split()} <= offered
        assert b"Posthouse" in str(client.id_({"name": "test"})).encode()

    def test_namespace_and_enable(self, client: IMAPClient) -> None:
        """RFC 2342 §5: one personal namespace, one of other users. RFC 5161 §3.1: what is switched on is named."""
        assert client.namespace() == ((("", "/"),), (("Other Users/", "/"),), None)
        assert [word.upper() for word in client.enable("IMAP4rev2")] == [b"IMAP4REV2"]

    def test_two_clients_see_the_same(self, posthouse: Running, client: IMAPClient, anna: Person) -> None:
        anna.receive(*[LETTER % (b"number %d" % i, b"me") for i in range(3)])
        client.select_folder("INBOX")
        with IMAPClient("localhost", posthouse.ports.imaps, ssl_context=posthouse.trust(), timeout=60) as phone:
            phone.login(anna.address, anna.password)
            phone.select_folder("INBOX")
            phone.add_flags([2], [rb"\Flagged"])
            phone.delete_messages([1])
            phone.expunge()
        told = [answer for _ in range(2) for answer in client.noop()[1]]
        assert (1, b"EXPUNGE") in told
        assert any(answer[1] == b"FETCH" and rb"\Flagged" in str(answer[2]).encode() for answer in told)


class TestMutt:
    """Mutt in a terminal that tmux holds: what a person would see and press."""

    @pytest.fixture
    def terminal(self, tmp_path: Path) -> Iterator[Callable[..., str]]:
        socket = f"posthouse-{uuid.uuid4().hex[:8]}"

        def tmux(*arguments: str) -> str:
            command = ["tmux", "-L", socket, "-f", "/dev/null", *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

        yield tmux
        subprocess.run(["tmux", "-L", socket, "kill-server"], capture_output=True, timeout=60, check=False)

    @staticmethod
    def until(tmux: Callable[..., str], wanted: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        while wanted not in (screen := tmux("capture-pane", "-p")):
            assert time.monotonic() < deadline, f"no {wanted!r} on this screen:\n{screen}"
            time.sleep(0.1)
        return screen

    def test_read_answer_and_delete_with_a_device_password(
        self, posthouse: Running, person: NewPerson, terminal: Callable[..., str], tmp_path: Path
    ) -> None:
        anna, ben = person().device("mutt", "--protocols", "imap,smtp"), person()
        letter = f"From: {ben.address}\r\nTo: {anna.address}\r\nSubject: lunch?\r\n\r\nAt noon?\r\n"
        anna.receive(letter.encode(), LETTER % (b"unwanted", b"nobody"))
        (tmp_path / "muttrc").write_text(
            f'set folder="imaps://localhost:{posthouse.ports.imaps}/" spoolfile=+INBOX\n'
            f'set imap_user="{anna.address}" imap_pass="{anna.password}" from="{anna.address}"\n'
            f'set smtp_url="smtp://{anna.address.replace("@", "%40")}@localhost:{posthouse.ports.submission}/"\n'
            f'set smtp_pass="{anna.password}" ssl_force_tls=yes ssl_ca_certificates_file="{posthouse.ca}"\n'
            # It chooses -PLUS, for which it has no binding, and in SMTP tries nothing else (docs/quirks.md).
            'set imap_deflate=yes smtp_authenticators="SCRAM-SHA-256"\n'
            f'set record="+Sent" editor="sed -i \'$ a Yes, gladly.\'" abort_unmodified=no include=yes move=no\n'
            f'set delete=yes use_envelope_from=yes sort=mailbox-order tmpdir="{tmp_path}" realname="Anna"\n'
        )
        mutt = f"env HOME={tmp_path} TERM=screen {shutil.which('mutt')} -n -F {tmp_path / 'muttrc'}"
        terminal("new-session", "-d", "-x", "120", "-y", "30", mutt)
        self.until(terminal, "lunch?")
        terminal("send-keys", "1", "Enter")
        terminal("send-keys", "Enter")
        self.until(terminal, "At noon?")
        terminal("send-keys", "r")
        self.until(terminal, f"To: {ben.address}")  # the message on the screen has a To, too
        terminal("send-keys", "Enter")
        self.until(terminal, "Subject: Re: lunch?")
        terminal("send-keys", "Enter")
        self.until(terminal, "y:Send")
        terminal("send-keys", "y")
        self.until(terminal, "Mail sent.")
        terminal("send-keys", "q")
        self.until(terminal, "unwanted")
        terminal("send-keys", "2", "Enter", "d", "q")
        deadline = time.monotonic() + 60
        while len(anna.messages()) != 1 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(anna.messages()) == 1
        [answer] = ben.messages()
        assert b"Subject: Re: lunch?" in answer
        assert b"Yes, gladly." in answer
        assert len(anna.messages("Sent")) == 1
