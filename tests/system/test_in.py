"""Mail comes in through programs that people really use: swaks, msmtp, curl and Python's smtplib."""

import os
import select
import smtplib
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from system.running import Person, Running

NewPerson = Callable[..., Person]


def letter(sender: str, recipient: str, subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message.set_content("Dear friend,\n\n. a line that begins with a dot\n..and two of them\n\nBye\n")
    return message


def run(*command: object, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    nobody = {**os.environ, "HOME": "/nonexistent"}  # no settings of whoever runs the tests
    return subprocess.run(
        [str(c) for c in command], input=text, env=nobody, capture_output=True, timeout=60, check=False
    )


def on_terminal(*command: object) -> None:
    """Run a program that wants a terminal to its end, throwing away what it draws."""
    ours, its = os.openpty()
    nobody = {**os.environ, "HOME": "/nonexistent", "TERM": "xterm"}
    program = subprocess.Popen([str(c) for c in command], stdin=its, stdout=its, stderr=its, env=nobody)
    os.close(its)
    try:
        while select.select([ours], [], [], 60.0)[0] and os.read(ours, 65_536):
            pass
    except OSError:  # the other side is closed: it has ended
        pass
    finally:
        os.close(ours)
        program.kill()
        program.wait()


class TestSwaks:
    def test_a_stranger_delivers(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        done = run("swaks", "--server", "127.0.0.1", "--port", posthouse.ports.smtp, "--helo", "mx.far.test",
                   "--from", "eve@far.test", "--to", anna.address, "--header", "Subject: from swaks",
                   "--body", "Hello\n.dot\n")  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()
        [octets] = anna.messages()
        assert octets.startswith(b"Return-Path: <eve@far.test>\r\n")
        assert b"\r\nReceived: from mx.far.test (" in octets
        assert octets.rstrip().endswith(b"\r\n\r\nHello\r\n.dot")

    def test_starttls_by_a_stranger(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        done = run("swaks", "--server", "127.0.0.1", "--port", posthouse.ports.smtp, "--tls",
                   "--from", "eve@far.test", "--to", anna.address)  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()
        assert b" with ESMTPS" in anna.messages()[0]

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    @pytest.mark.parametrize("encryption", ["--tls", "--tls-on-connect"])
    def test_submission(self, posthouse: Running, person: NewPerson, mechanism: str, encryption: str) -> None:
        anna, ben = person(), person()
        port = posthouse.ports.submission if encryption == "--tls" else posthouse.ports.submissions
        done = run("swaks", "--server", "127.0.0.1", "--port", port, encryption, "--auth", mechanism,
                   "--auth-user", anna.address, "--auth-password", anna.password,
                   "--from", anna.address, "--to", ben.address)  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()
        assert b" with ESMTPSA" in ben.messages()[0]

    def test_a_wrong_password_is_refused(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        done = run("swaks", "--server", "127.0.0.1", "--port", posthouse.ports.submission, "--tls", "--auth", "PLAIN",
                   "--auth-user", anna.address, "--auth-password", "wrong",
                   "--from", anna.address, "--to", anna.address)  # fmt: skip
        assert done.returncode == 28, done.stdout.decode()  # swaks: authentication failed
        assert b"535 5.7.8 " in done.stdout

    def test_strangers_do_not_relay(self, posthouse: Running) -> None:
        done = run("swaks", "--server", "127.0.0.1", "--port", posthouse.ports.smtp, "--quit-after", "RCPT",
                   "--from", "eve@far.test", "--to", "someone@elsewhere.test")  # fmt: skip
        assert b"550 5.7.1 " in done.stdout

    def test_an_unknown_user_is_refused(self, posthouse: Running) -> None:
        done = run("swaks", "--server", "127.0.0.1", "--port", posthouse.ports.smtp, "--quit-after", "RCPT",
                   "--from", "eve@far.test", "--to", "nobody-here@home.test")  # fmt: skip
        assert b"550 5.1.1 " in done.stdout


class TestMsmtp:
    @pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
    def test_submission(self, posthouse: Running, person: NewPerson, tmp_path: Path, mechanism: str) -> None:
        anna, ben = person(), person()
        configuration = tmp_path / "msmtprc"
        configuration.write_text(
            f"account default\nhost localhost\nport {posthouse.ports.submission}\nfrom {anna.address}\n"
            f"tls on\ntls_starttls on\ntls_trust_file {posthouse.ca}\n"
            f"auth {mechanism}\nuser {anna.address}\npassword {anna.password}\n"
        )
        configuration.chmod(0o600)
        message = letter(anna.address, ben.address, "from msmtp")
        done = run("msmtp", "--file", configuration, ben.address, text=bytes(message))
        assert done.returncode == 0, done.stderr.decode()
        [octets] = ben.messages()
        assert octets.endswith(message.get_content().replace("\n", "\r\n").encode())


class TestCurl:
    def test_submission_over_tls(self, posthouse: Running, person: NewPerson, tmp_path: Path) -> None:
        anna, ben = person(), person()
        file = tmp_path / "letter.eml"
        file.write_bytes(letter(anna.address, ben.address, "from curl").as_bytes().replace(b"\n", b"\r\n"))
        done = run("curl", "--silent", "--show-error", "--cacert", posthouse.ca,
                   "--url", f"smtps://localhost:{posthouse.ports.submissions}/client.test",
                   "--user", f"{anna.address}:{anna.password}",
                   "--mail-from", anna.address, "--mail-rcpt", ben.address, "--upload-file", file)  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        assert ben.messages()[0].endswith(file.read_bytes())

    def test_a_sender_that_is_not_mine_is_refused(self, posthouse: Running, person: NewPerson, tmp_path: Path) -> None:
        anna, ben = person(), person()
        file = tmp_path / "letter.eml"
        file.write_bytes(letter(ben.address, anna.address, "not mine").as_bytes().replace(b"\n", b"\r\n"))
        done = run("curl", "--verbose", "--cacert", posthouse.ca, "--ssl-reqd",
                   "--url", f"smtp://localhost:{posthouse.ports.submission}/client.test",
                   "--user", f"{anna.address}:{anna.password}",
                   "--mail-from", ben.address, "--mail-rcpt", anna.address, "--upload-file", file)  # fmt: skip
        assert done.returncode != 0
        assert b"< 553 5.7.1 " in done.stderr
        assert anna.messages() == []


class TestSmtplib:
    def test_what_is_offered(self, posthouse: Running) -> None:
        """RFC 1870, RFC 6152, RFC 6531, RFC 2920, RFC 3030, RFC 3207, RFC 2034; AUTH not to strangers."""
        with smtplib.SMTP("localhost", posthouse.ports.smtp) as stranger:
            stranger.ehlo("client.test")
            offered = stranger.esmtp_features
        assert {"size", "8bitmime", "smtputf8", "pipelining", "chunking", "starttls", "enhancedstatuscodes"} <= set(
            offered
        )
        assert "auth" not in offered
        assert int(offered["size"]) == 50 * 1024 * 1024

    def test_auth_is_offered_only_under_tls(self, posthouse: Running) -> None:
        with smtplib.SMTP("localhost", posthouse.ports.submission) as client:
            client.ehlo()
            assert "auth" not in client.esmtp_features
            client.starttls(context=posthouse.trust())
            client.ehlo()
            assert set(client.esmtp_features["auth"].split()) >= {"PLAIN", "LOGIN", "SCRAM-SHA-256"}

    def test_two_recipients_get_the_same_octets(self, posthouse: Running, person: NewPerson) -> None:
        anna, ben, carl = person(), person(), person()
        message = letter(anna.address, f"{ben.address}, {carl.address}", "to both")
        with smtplib.SMTP_SSL("localhost", posthouse.ports.submissions, context=posthouse.trust()) as client:
            client.login(anna.address, anna.password)
            assert client.send_message(message) == {}
        bodies = [someone.messages()[0].split(b"\r\n\r\n", 1)[1] for someone in (ben, carl)]
        assert bodies[0] == bodies[1] == message.get_content().replace("\n", "\r\n").encode()

    def test_a_tag_and_an_alias_find_their_user(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        user, domain = anna.address.split("@")
        posthouse.command("alias", "add", f"office-{user}@{domain}", anna.address)
        with smtplib.SMTP("localhost", posthouse.ports.smtp) as stranger:
            for recipient in (f"{user}+lists@{domain}", f"office-{user}@{domain}"):
                stranger.sendmail("eve@far.test", recipient, b"Subject: hello\r\n\r\nhello\r\n")
        assert len(anna.messages()) == 2

    def test_eight_bit_and_utf8_addresses(self, posthouse: Running, person: NewPerson) -> None:
        """RFC 6152 §3 and RFC 6531 §3.4: the octets arrive as they were sent."""
        anna = person()
        octets = "Subject: Grüße\r\n\r\nschöne Grüße\r\n".encode()
        with smtplib.SMTP("localhost", posthouse.ports.smtp) as stranger:
            stranger.ehlo("client.test")
            stranger.sendmail("größe@far.test", anna.address, octets, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        assert anna.messages()[0].endswith(octets)

    def test_a_message_larger_than_a_row(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        octets = b"Subject: large\r\n\r\n" + b"".join(b"%076d\r\n" % i for i in range(60_000))  # 4.7 MB
        with smtplib.SMTP("localhost", posthouse.ports.smtp) as stranger:
            stranger.sendmail("eve@far.test", anna.address, octets)
        assert anna.messages()[0].endswith(octets)

    def test_too_large_is_refused_at_mail(self, posthouse: Running) -> None:
        with smtplib.SMTP("localhost", posthouse.ports.smtp) as stranger:
            stranger.ehlo("client.test")
            code, text = stranger.docmd(f"MAIL FROM:<eve@far.test> SIZE={60 * 1024 * 1024}")
        assert (code, text[:5]) == (552, b"5.3.4")

    def test_lmtp_on_its_socket(self, posthouse: Running, person: NewPerson) -> None:
        anna, ben = person(), person()
        with smtplib.LMTP(str(posthouse.lmtp)) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("eve@far.test")
            assert [client.rcpt(r)[0] for r in (anna.address, "nobody-here@home.test", ben.address)] == [250, 550, 250]
            assert client.data(b"Subject: local\r\n\r\nlocal\r\n")[0] == 250
            assert client.getreply()[0] == 250  # LMTP answers once for each recipient that was taken
        assert [len(someone.messages()) for someone in (anna, ben)] == [1, 1]
