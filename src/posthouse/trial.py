"""`posthouse try`: a real mail system for two people, on this computer only, without a question.

The same supervisor and workers as `posthouse serve`, with settings made here: loopback ports above 1024, a private
certificate authority, a data folder of its own.
"""

import contextlib
import json
import shlex
import shutil
import smtplib
import ssl
import sys
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid
from functools import partial
from pathlib import Path

from posthouse import log, start
from posthouse.config import ConfigError, settle
from posthouse.config_sections import Settings
from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.spelling import why_no_address
from posthouse.net.authority import authority, issue
from posthouse.net.listen import free_port, taken
from posthouse.net.tls import CertificateError, CertificateFiles
from posthouse.serve.passwords import make_credential
from posthouse.store import accounts
from posthouse.store.script import Exists, StoreError
from posthouse.store.store import open_sync
from posthouse.supervisor import Hooks

HOST = "127.0.0.1"
PORTS = {
    "smtp": 2525,
    "submission": 1587,
    "submissions": 1465,
    "imap": 1143,
    "imaps": 1993,
    "pop3": 1110,
    "pop3s": 1995,
}
PEOPLE = {
    "anna": Address("anna", Domain("home.test")),
    "ben": Address("ben", Domain("work.test")),
}  # password: the name
HOSTNAME = "mail.home.test"
CERTIFIED = ("localhost", HOSTNAME, "home.test", "work.test", HOST, "::1")
NOTES = "try.json"  # in the folder: that it is a playground, and its ports
DRAIN_SECONDS = 0.5  # nobody here waits for a goodbye
PORT_TRIES = 5  # with --any-port: somebody else may take a free port before we do
SEND_SECONDS = 30.0  # for the whole of one `try send` at each step


class _Refused(Exception):
    """The text says why and what to do."""


def default_folder() -> Path:
    """Where a playground is when nobody says."""
    from platformdirs import user_data_path

    return user_data_path("posthouse") / "try"


def run(folder: Path | None, *, reset: bool, any_port: bool) -> int:
    """Start, show what to type next, and go on until Ctrl-C. The exit status."""
    folder = (folder or default_folder()).absolute()
    try:
        _prepare(folder, reset=reset)
        _people(folder)
        log.set_up("error", "text")  # of the supervisor; its advice for servers is not for a playground
        status = _serve(folder, any_port=any_port)
    except start.CannotStart as error:
        print(f"posthouse try: {error}", file=sys.stderr)
        if error.port_taken:
            print(f"Or let the playground choose: {program()} try --any-port", file=sys.stderr)
        return 1
    except (_Refused, ConfigError, CertificateError, StoreError, OSError) as error:
        print(f"posthouse try: {_said(error)}", file=sys.stderr)
        return 1
    if status == 0:
        print("\n Stopped. Your mails are kept; `posthouse try` goes on where you were.", flush=True)
    return status


def _serve(folder: Path, *, any_port: bool) -> int:
    """On the usual ports, or on free ones; until Ctrl-C. Raises CannotStart."""
    ca = authority(folder / "tls", "Posthouse playground")
    certificate = issue(ca, folder / "tls", CERTIFIED)
    for tries_left in reversed(range(PORT_TRIES if any_port else 1)):
        ports = _ports(any_port=any_port)
        _write_notes(folder, ports)
        ready = partial(_show, screen(folder, ports, ca.certificate))
        try:
            return start.run(_settings(folder, ports, certificate), Hooks(ready=ready))
        except start.CannotStart as error:
            if not (error.port_taken and tries_left):
                raise
    raise AssertionError("the last try returns or raises")


def _show(text: str) -> None:
    print(text, flush=True)


def _prepare(folder: Path, *, reset: bool) -> None:
    """The folder is a playground's, or new. Raises _Refused, CannotStart."""
    if folder.exists() and not folder.is_dir():
        raise _Refused(f"{folder} is a file, and the playground needs a folder: choose another --dir")
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_notes(folder, PORTS)
        return
    if not (folder / NOTES).exists():
        raise _Refused(f"{folder} is not empty, and no playground of Posthouse: choose another --dir")
    process = start.running(folder)
    if process is not None:
        raise _Refused(f"the playground in {folder} is running already (process {process}); stop it with Ctrl-C first")
    if reset:
        shutil.rmtree(folder)
        _prepare(folder, reset=False)


def _write_notes(folder: Path, ports: Mapping[str, int]) -> None:
    (folder / NOTES).write_text(json.dumps({"ports": dict(ports)}) + "\n", encoding="utf-8")


def _ports(*, any_port: bool) -> dict[str, int]:
    if not any_port:
        return PORTS
    found: dict[str, int] = {}
    for service, port in PORTS.items():
        avoid = frozenset({*PORTS.values(), *found.values()})
        found[service] = free_port(HOST, port, avoid) if taken(HOST, port) else port
        if found[service] != port:
            print(f" Port {port} is taken; {service} is on {found[service]} this time.")
    return found


def _settings(folder: Path, ports: Mapping[str, int], files: CertificateFiles) -> Settings:
    at = {service: [f"{HOST}:{port}"] for service, port in ports.items()}
    return settle(
        {
            "hostname": HOSTNAME,
            "data": str(folder),
            "workers": 1,
            "drain_seconds": DRAIN_SECONDS,
            "smtp": {"listen": at["smtp"]},
            "submission": {"listen": at["submission"], "listen_tls": at["submissions"]},
            "imap": {"listen": at["imap"], "listen_tls": at["imaps"]},
            "pop3": {"listen": at["pop3"], "listen_tls": at["pop3s"]},
            "tls": {"certificates": [{"certificate": str(files.certificate), "key": str(files.key)}]},
            "queue": {"leave": False},
            "log": {"level": "warning"},
            "limits": {"peer": {"exempt_loopback": True}},
        }
    )


def _people(folder: Path) -> None:
    """Anna and Ben, and their domains, where they are not there yet."""
    with open_sync(folder) as store:
        for name, address in PEOPLE.items():
            if store.read(accounts.find_login, address) is not None:
                continue
            with contextlib.suppress(Exists):  # the person was removed by hand, the domain was not
                store.run(accounts.add_domain, address.domain)
            store.run(accounts.add_account, address, make_credential(name))


def program() -> str:
    """How this program is called from here: by its name where the shell finds it, else by its path."""
    if shutil.which("posthouse"):
        return "posthouse"
    called = Path(sys.argv[0])
    return shlex.quote(sys.argv[0]) if called.name == "posthouse" else f"{shlex.quote(sys.executable)} -m posthouse"


def screen(folder: Path, ports: Mapping[str, int], ca: Path) -> str:
    """What to type next."""
    trust = shlex.quote(str(ca))
    here = "" if folder == default_folder() else f" --dir {shlex.quote(str(folder))}"
    mail = f"imaps://ben%40work.test@localhost:{ports['imaps']}/"  # also mutt's folder: it would ask to make ~/Mail
    return f"""
 Posthouse playground. Nothing leaves this computer.

   anna@home.test   password anna            ben@work.test   password ben

   Mail programs   read   IMAP localhost   port {ports["imaps"]} with TLS, or {ports["imap"]} with STARTTLS
                   fetch  POP3 localhost   port {ports["pop3s"]} with TLS, or {ports["pop3"]} with STLS
                   send   SMTP localhost   port {ports["submissions"]} with TLS, or {ports["submission"]} with STARTTLS
                   The user name is the whole address. The certificate is signed by this authority:
                   {trust}
   Other servers   SMTP localhost port {ports["smtp"]}: mail to anna and ben, without a login

   Type next, in another terminal:
     {program()} try send "Hello Ben"{here}
     curl --cacert {trust} --user ben@work.test:ben 'imaps://localhost:{ports["imaps"]}/INBOX;MAILINDEX=*'
     mutt -e 'set ssl_ca_certificates_file="{ca}" folder={mail}' -f {mail}
     {program()} trace --since 1h --data {shlex.quote(str(folder))}

   Everything is kept in {folder}
   Ctrl-C stops. `{program()} try --reset{here}` forgets everything.
"""


def send(text: str, sender: str, to: str, folder: Path | None) -> int:
    """Send a mail through the submission port of the running playground. The exit status."""
    folder = (folder or default_folder()).absolute()
    try:
        if not _is_text(text):
            raise _Refused("the text is not UTF-8")
        if sender not in PEOPLE:
            raise _Refused(f"--from is anna or ben, not {sender!r}")
        recipient = PEOPLE[to] if to in PEOPLE else parse_address(to)
        if recipient is None:
            raise _Refused(f"--to is anna, ben or an address, not {to!r}: {why_no_address(to)}")
        if start.running(folder) is None:
            raise _Refused(f"the playground is not running; start it in another terminal: {program()} try")
        answer = _submit(_compose(text, PEOPLE[sender], recipient), sender, folder)
    except _Refused as error:
        print(f"posthouse try send: {error}", file=sys.stderr)
        return 1
    except (OSError, smtplib.SMTPException) as error:
        print(f"posthouse try send: {_said(error)}", file=sys.stderr)
        return 1
    print(f" {PEOPLE[sender]} -> {recipient}: {answer}")
    return 0


def _is_text(words: str) -> bool:
    """Whether a word of the command line was UTF-8."""
    return words.encode("utf-8", "replace").decode("utf-8") == words


def _compose(text: str, sender: Address, recipient: Address) -> EmailMessage:
    message = EmailMessage()
    message["From"] = str(sender)
    message["To"] = str(recipient)
    message["Subject"] = text.splitlines()[0] if text.strip() else "(nothing)"
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=sender.domain.name)
    message.set_content(text + "\n")
    return message


def _submit(message: EmailMessage, name: str, folder: Path) -> str:
    ports = json.loads((folder / NOTES).read_text(encoding="utf-8"))["ports"]
    context = ssl.create_default_context(cafile=str(folder / "tls" / "ca.pem"))
    with smtplib.SMTP(HOST, ports["submission"], timeout=SEND_SECONDS) as client:
        client.starttls(context=context)
        client.login(str(PEOPLE[name]), name)
        plain = str(message["To"]).isascii()
        if not plain and not client.has_extn("smtputf8"):
            raise _Refused("the server takes no addresses with other letters than ASCII")
        client.mail(str(PEOPLE[name]), [] if plain else ["SMTPUTF8"])
        code, reply = client.rcpt(str(message["To"]))
        if code == 250:
            code, reply = client.data(message.as_bytes(policy=SMTP if plain else SMTPUTF8))
    said = f"{code} {reply.decode('utf-8', 'replace')}"
    if code != 250:
        raise _Refused(f"the server said: {said}")
    return said


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        reply = error.smtp_error
        words = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        return f"the server said: {error.smtp_code} {words}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
