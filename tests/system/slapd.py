"""A real LDAP server on loopback and free ports: OpenLDAP's slapd. Debian has it: apt-get install slapd ldap-utils."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from freeports import free_ports
from system.running import make_certificate

PATIENCE = 60.0  # seconds until it answers
SEARCHER, SECRET = "cn=search,dc=home,dc=test", "search me"
PEOPLE = "ou=people,dc=home,dc=test"

_CONF = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
suffix "dc=home,dc=test"
rootdn "cn=admin,dc=home,dc=test"
rootpw root
directory {folder}/db
overlay ppolicy
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{searcher}" read by * none
"""

_ENTRIES = """\
dn: dc=home,dc=test
objectClass: domain
dc: home

dn: {searcher}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: search
userPassword: {secret}

dn: {people}
objectClass: organizationalUnit
ou: people

dn: ou=elsewhere,dc=home,dc=test
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/ou=people,dc=far,dc=test
"""

_PERSON = """
dn: uid={uid},{people}
objectClass: inetOrgPerson
uid: {uid}
cn: {uid}
sn: {uid}
mail: {mail}
userPassword: {password}
"""


@dataclass(frozen=True, slots=True)
class Slapd:
    """Where it listens, and the certificate that signs for it."""

    port: int
    tls_port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    def change(self, text: str) -> None:
        """Change entries, as the administrator does (ldapmodify)."""
        command = ["ldapmodify", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", "cn=admin,dc=home,dc=test"]
        subprocess.run([*command, "-w", "root"], input=text, text=True, check=True, capture_output=True, timeout=60)

    def add(self, uid: str, mail: str, password: str) -> None:
        entry = _PERSON.format(uid=uid, people=PEOPLE, mail=mail, password=password)
        first, rest = entry.lstrip().split("\n", 1)
        self.change(f"{first}\nchangetype: add\n{rest}")

    def remove(self, uid: str) -> None:
        self.change(f"dn: uid={uid},{PEOPLE}\nchangetype: delete\n")


@contextlib.contextmanager
def real_ldap(folder: Path, people: dict[str, tuple[str, str]]) -> Iterator[Slapd]:
    """The server with these people: uid to address and password."""
    path = "/usr/sbin:/usr/bin:/usr/local/sbin"
    programs = [shutil.which(name) or shutil.which(name, path=path) for name in ("slapd", "ldapmodify")]
    if not all(programs):
        pytest.skip("needs slapd and ldap-utils: apt-get install slapd ldap-utils")
    ca, _ = make_certificate(folder)
    (folder / "db").mkdir()
    conf = folder / "slapd.conf"
    conf.write_text(_CONF.format(folder=folder, searcher=SEARCHER))
    text = _ENTRIES.format(searcher=SEARCHER, secret=SECRET, people=PEOPLE)
    for uid, (mail, password) in people.items():
        text += _PERSON.format(uid=uid, people=PEOPLE, mail=mail, password=password)
    add = [str(programs[0]), "-T", "add", "-f", str(conf), "-q"]
    subprocess.run(add, input=text, text=True, check=True, capture_output=True, timeout=60)
    port, tls_port = free_ports(2)
    urls = f"ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/"
    process = subprocess.Popen(
        [str(programs[0]), "-f", str(conf), "-h", urls, "-d", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _wait(process, port)
        yield Slapd(port, tls_port, ca)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("slapd does not answer")
