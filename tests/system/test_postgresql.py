"""Users of a table in a real PostgreSQL (RFC 5321 §3.6, RFC 3463 §3.5, RFC 5530 §3, RFC 3206 §4)."""

import contextlib
import imaplib
import poplib
import smtplib
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from foreign_hashes import digest, foreign
from posthouse.mail.address import Address, Domain
from posthouse.net.directory import NoAnswer, Person
from posthouse.net.postgresql import Postgres, PostgresPlan
from posthouse.store.userview import UserView
from system.postgresql import READER, SECRET, Cluster, real_postgresql
from system.running import PROGRAM, Running, make_certificate

HOME = Domain("home.test")
ANNA = Address("anna", HOME)
NOBODY = Address("nobody", HOME)
QUERY = "SELECT mail, hash, active FROM person WHERE lower(mail) = lower(:address)"
STORED = digest("sha512", "SSHA512")  # of "secret"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with real_postgresql() as running:
        for name in ("anna", "twin", "twin"):
            running.add(f"{name}@home.test", STORED)
        running.add("ben@home.test", STORED, "false")
        running.add("carl@home.test", STORED, "NULL")
        running.change(f"INSERT INTO closed VALUES ('anna@home.test', '{STORED}')")
        yield running


def plan(cluster: Cluster, **more: object) -> PostgresPlan:
    """By TCP and TLS, as across a network."""
    told = {"host": "localhost", "port": cluster.port, "user": READER, "database": "postgres", "password": SECRET}
    told |= {"authorities": str(cluster.ca)}
    return PostgresPlan(**(told | more))  # type: ignore[arg-type]


@contextlib.contextmanager
def asked(cluster: Cluster, query: str = QUERY, **more: object) -> Iterator[UserView]:
    view = UserView(Postgres(plan(cluster, **more), query))
    try:
        yield view
    finally:
        view.close()


def refusal(cluster: Cluster, query: str = QUERY, **more: object) -> str:
    """Why there is no answer. The password is never told."""
    with asked(cluster, query, **more) as view, pytest.raises(NoAnswer) as caught:
        view.find(ANNA)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def connections(cluster: Cluster) -> int:
    return int(cluster.change(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{READER}'"))


@pytest.mark.parametrize("way", ["tls", "loopback", "socket"])
def test_users_of_a_table(cluster: Cluster, way: str) -> None:
    assert connections_end(cluster)  # of the test before
    ways = {"loopback": {"tls": False}, "socket": {"tls": False, "host": str(cluster.folder)}}
    with asked(cluster, **ways.get(way, {})) as view:
        assert view.find(ANNA) == view.find(Address("ANNA", HOME)) == Person(("anna@home.test",))
        assert view.prove(ANNA, "secret") == Person(("anna@home.test",))
        for wrong in ("", "Secret", "\0", "x" * 65_536):
            assert view.prove(ANNA, wrong) is None
        for nobody in ("nobody", "ben", "carl"):  # the others are not active
            assert view.find(Address(nobody, HOME)) is None
            assert view.prove(Address(nobody, HOME), "secret") is None
        with pytest.raises(NoAnswer, match="several users"):
            view.find(Address("twin", HOME))
        encrypted = cluster.change(
            f"SELECT bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = '{READER}'"
        )
        assert encrypted == ("t" if way == "tls" else "f")


@pytest.mark.parametrize(
    "local",
    ["' OR 1=1 --", "'; DROP TABLE account; --", "%", "_nna", "$1", ":address", "\\", "x" * 65_536, "an\0na", "\ud800"],
)
def test_a_name_is_a_parameter(cluster: Cluster, local: str) -> None:
    query = "SELECT mail, hash FROM person WHERE mail = :address OR mail = :local || '@' || :domain"
    with asked(cluster, query) as view:
        assert view.find(Address(local, HOME)) is None
        assert view.find(ANNA) == Person(("anna@home.test",))


def test_a_name_that_the_database_has_no_letters_for_is_nobody(cluster: Cluster) -> None:
    assert connections_end(cluster)  # of the test before
    cluster.change("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with asked(cluster, "SELECT 'anna', 'x' WHERE :local = 'grün'", database="latin") as view:
        assert view.find(Address("日本", HOME)) is None
        assert view.find(Address("grün", HOME)) == Person(("anna",))
        assert connections(cluster) == 1
    cluster.change("DROP DATABASE latin WITH (FORCE)")


def test_every_form_of_hash(cluster: Cluster) -> None:
    for number, stored in enumerate(foreign()):
        cluster.add(f"hash{number}@home.test", stored)
    with asked(cluster) as view:
        for number, stored in enumerate(foreign()):
            name = Address(f"hash{number}", HOME)
            assert view.prove(name, "secret") == Person((str(name),)), stored
            assert view.prove(name, "Secret") is None


def test_columns_of_other_types(cluster: Cluster) -> None:
    """Fixed widths, numbers, letters and domains, as other programs have them; and places of several types."""
    cluster.change(
        "CREATE DOMAIN mailname AS varchar(100); CREATE TYPE yes_no AS ENUM ('yes', 'no');"
        "CREATE TABLE odd (mail mailname, local name, hash char(200), number smallint, letter char(4), said yes_no);"
        f"INSERT INTO odd VALUES ('anna@home.test', 'anna', '{STORED}', 1, 'Y', 'yes'),"
        f" ('ben@home.test', 'ben', '{STORED}', 0, 'N', 'no'); GRANT SELECT ON odd TO {READER}"
    )
    for column in ("number", "letter", "said", "number = 1"):
        query = f"SELECT mail, hash, {column} FROM odd WHERE mail = :address AND local = :local"
        with asked(cluster, query) as view:
            assert view.prove(ANNA, "secret") == Person(("anna@home.test",)), column
            assert view.find(Address("ben", HOME)) is None, column


def test_what_is_no_question(cluster: Cluster) -> None:
    assert "the query gives 1 column:" in refusal(cluster, "SELECT mail FROM person WHERE mail = :address")
    assert "the query gives 4 columns:" in refusal(cluster, "SELECT 1, 2, 3, 4 WHERE :address <> ''")
    assert 'column "word" does not exist; look at directory.query' in refusal(
        cluster, "SELECT mail, word FROM person WHERE mail = :address"
    )
    assert 'relation "people" does not exist; look at directory.query' in refusal(
        cluster, "SELECT mail, hash FROM people WHERE mail = :address"
    )
    assert f"permission denied for table closed; GRANT SELECT to {READER}" in refusal(
        cluster, "SELECT mail, hash FROM closed WHERE mail = :address"
    )
    assert "syntax error" in refusal(cluster, "no SQL with :address")
    assert "multiple commands" in refusal(cluster, "SELECT :address, 1; DROP TABLE account")
    assert "the answer is too long" in refusal(cluster, "SELECT :address, repeat('x', 2000000)")
    assert "no answer within 0.3 seconds" in refusal(cluster, "SELECT :address, pg_sleep(60)", seconds=0.3)


def test_nothing_is_written(cluster: Cluster) -> None:
    cluster.change(f"CREATE TABLE loose (mail text, hash text); GRANT ALL ON loose TO {READER}")
    said = refusal(cluster, "INSERT INTO loose VALUES (:address, 'x') RETURNING mail, hash")
    assert "cannot execute INSERT in a read-only transaction; look at directory.query" in said
    assert cluster.change("SELECT count(*) FROM loose") == "0"


def test_who_is_not_let_in(cluster: Cluster, tmp_path: Path) -> None:
    for wrong in ({"password": "wrong"}, {"password": ""}, {"user": "nobody"}):
        assert "it does not let us in (password authentication failed" in refusal(cluster, **wrong)
    assert 'database "none" does not exist; look at directory.url' in refusal(cluster, database="none")
    assert "it cannot be reached (Connection refused)" in refusal(cluster, port=1)
    assert "it cannot be reached (No such file or directory)" in refusal(cluster, host=str(tmp_path), tls=False)


def test_tls_is_verified_before_a_password_goes_out(cluster: Cluster, tmp_path: Path) -> None:
    other, _ = make_certificate(tmp_path)
    for authorities in (str(other), ""):
        said = refusal(cluster, authorities=authorities)
        assert "its certificate is not believed" in said
        assert "look at directory.authorities" in said
    assert "certificate is not valid for" in refusal(cluster, host="127.1")  # another name of 127.0.0.1
    cluster.stop()
    cluster.settle(ssl=False)
    cluster.start()
    try:
        assert "it does not speak TLS" in refusal(cluster)
    finally:
        cluster.stop()
        cluster.settle(ssl=True)
        cluster.start()


def test_a_few_connections_are_kept_and_opened_anew(cluster: Cluster) -> None:
    with asked(cluster) as view, ThreadPoolExecutor(3) as threads:
        assert set(threads.map(lambda _: view.find(ANNA), range(60))) == {Person(("anna@home.test",))}
        assert 1 <= connections(cluster) <= 3
        for _ in range(20):  # asked while the end is on its way
            cluster.change(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{READER}'")
            assert view.find(ANNA) == Person(("anna@home.test",))
        cluster.stop()
        with pytest.raises(NoAnswer, match="cannot be reached"):
            view.find(NOBODY)
        cluster.start()
        assert view.find(ANNA) == Person(("anna@home.test",))
    assert connections_end(cluster)
    with pytest.raises(NoAnswer, match="the server ends"):
        view.find(ANNA)


def connections_end(cluster: Cluster) -> bool:
    """The database notices after a moment that somebody has left."""
    pause = threading.Event()
    return any(connections(cluster) == 0 or pause.wait(0.05) for _ in range(1_200))


def test_a_database_that_stands_still(cluster: Cluster) -> None:
    """With connections that are kept, and with new ones; a lock of somebody else's is the same."""
    with asked(cluster, seconds=3) as view:
        assert view.find(ANNA) is not None
        cluster.stand_still()
        try:
            for _ in range(2):
                with pytest.raises(NoAnswer, match="no answer within 3 seconds"):
                    view.find(NOBODY)
        finally:
            cluster.go_on()
        assert view.find(NOBODY) is None
        with cluster.locked("account"):
            with pytest.raises(NoAnswer, match="no answer within"):
                view.find(NOBODY)
            assert connections_end(cluster)  # nothing goes on in the database for nobody
        assert view.find(ANNA) == Person(("anna@home.test",))


# --- the real program

SECTION = """
[directory]
url = "{url}"
password_file = "secret"
query = "SELECT mail, hash, active FROM person WHERE mail = :address"
remember_seconds = 0.2
seconds = 4
"""


def checked(server: Running) -> tuple[int, str]:
    command = [PROGRAM, "check", server.settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def rcpt(server: Running, address: str) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", server.ports.smtp, timeout=60) as stranger:
        stranger.ehlo("client.test")
        stranger.mail("eve@far.test")
        return stranger.rcpt(address)


def curl(server: Running, name: str, password: str) -> subprocess.CompletedProcess[str]:
    """A login and a look at the INBOX."""
    words = ["curl", "--silent", "--show-error", "--cacert", server.ca, "--user", f"{name}:{password}"]
    words += ["--url", f"imaps://localhost:{server.ports.imaps}/", "--request", "STATUS INBOX (MESSAGES)"]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def failed_logins(server: Running, name: str) -> tuple[str, str, str]:
    """What IMAP, POP3 and submission say to a user with the right password."""
    context = server.trust()
    client = imaplib.IMAP4_SSL("localhost", server.ports.imaps, ssl_context=context, timeout=60)
    with pytest.raises(imaplib.IMAP4.error) as imap:
        client.login(name, "secret")
    client.logout()
    pop = poplib.POP3_SSL("localhost", server.ports.pop3s, context=context, timeout=60)
    pop.user(name)
    with contextlib.closing(pop), pytest.raises(poplib.error_proto) as pop3:
        pop.pass_("secret")
    smtp = smtplib.SMTP_SSL("localhost", server.ports.submissions, context=context, timeout=60)
    with smtp, pytest.raises(smtplib.SMTPAuthenticationError) as submission:
        smtp.login(name, "secret")
    return str(imap.value), str(pop3.value), str(submission.value)


def temporary(server: Running, name: str) -> None:
    """Nobody hears that there is no such user, or that the password is wrong."""
    assert rcpt(server, "dora@home.test")[1][:5] == b"4.4.3"
    imap, pop3, submission = failed_logins(server, name)
    assert "UNAVAILABLE" in imap
    assert "SYS/TEMP" in pop3
    assert "454" in submission
    assert rcpt(server, name)[0] == 250  # who has a mailbox here gets mail meanwhile


def back(server: Running, name: str) -> None:
    """A worker that has waited for the database in vain asks it again after some seconds, each by its own clock."""
    pause = threading.Event()
    while curl(server, name, "secret").returncode:
        pause.wait(0.2)
    while (code := rcpt(server, "dora@home.test")[0]) == 451:
        pause.wait(0.2)
    assert code == 550


def test_the_server_knows_the_users_of_the_table(cluster: Cluster, fresh: Running) -> None:
    """The whole life of a user who is in the table, at the real program."""
    fresh.stop()
    plain = fresh.settings.read_text()
    (fresh.folder / "secret").write_text("wrong\n")
    fresh.settings.write_text(plain + SECTION.format(url=cluster.url))
    status, said = checked(fresh)
    assert status == 1
    assert "does not let us in" in said
    (fresh.folder / "secret").write_text(SECRET + "\n")
    assert checked(fresh)[0] == 0
    fresh.start()
    fresh.command("user", "add", "local@home.test", "--password-stdin", text="local-word\n")
    assert rcpt(fresh, "nobody@home.test")[0] == rcpt(fresh, "ben@home.test")[0] == 550
    with smtplib.SMTP("127.0.0.1", fresh.ports.smtp) as stranger:
        stranger.sendmail("eve@far.test", "anna+x@home.test", b"Subject: hello\r\n\r\nhello\r\n")
    assert "MESSAGES 1" in curl(fresh, "Anna@HOME.test", "secret").stdout
    for name, word in (("anna@home.test", "wrong"), ("ben@home.test", "secret"), ('"%"@home.test', "secret")):
        assert curl(fresh, name, word).returncode == 67, name  # login denied
    cluster.add("zoe@home.test", STORED)
    assert curl(fresh, "zoe@home.test", "secret").returncode == 0
    cluster.remove("zoe@home.test")
    pause = threading.Event()
    while curl(fresh, "zoe@home.test", "secret").returncode == 0:  # remembered for a moment
        pause.wait(0.1)
    assert "AUTHENTICATIONFAILED" in failed_logins(fresh, "zoe@home.test")[0]
    assert rcpt(fresh, "zoe@home.test")[0] == 550
    cluster.stop()
    try:
        temporary(fresh, "anna@home.test")
        status, said = checked(fresh)
        assert status == 1
        assert "it cannot be reached (Connection refused)" in said
    finally:
        cluster.start()
    back(fresh, "anna@home.test")
    _stands_still(cluster, fresh)
    back(fresh, "anna@home.test")
    assert fresh.stop() == 0
    assert connections_end(cluster)


def _stands_still(cluster: Cluster, server: Running) -> None:
    """Who asks for users of the table waits for a while, and nobody else does."""
    cluster.stand_still()
    try:
        with ThreadPoolExecutor(1) as thread:
            waits = thread.submit(rcpt, server, "emil@home.test")
            assert rcpt(server, "local@home.test")[0] == 250
            assert not waits.done()
            assert curl(server, "local@home.test", "local-word").returncode == 0
            assert waits.result()[1][:5] == b"4.4.3"
        temporary(server, "anna@home.test")
    finally:
        cluster.go_on()
