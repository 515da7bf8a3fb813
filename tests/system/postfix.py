"""A Postfix of a test's own on loopback addresses and free ports; what it takes goes on to a sink (Debian: postfix).

It must be started as root, as it always is. Ports are made by name, each with settings of its own:

    with postfix(onward, {"mx": {}, "old": {"smtpd_discard_ehlo_keywords": "chunking"}}) as server:
        ... server.ports["old"] ...
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from freeports import free_ports
from posthouse.net.authority import self_signed
from posthouse.net.tls import CertificateFiles

PATIENCE = 60.0  # seconds to start, and to stop
DAEMONS = Path("/usr/lib/postfix/sbin")

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = {daemons}
command_directory = /usr/sbin
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
biff = no
relay_domains = work.test
relay_recipient_maps = inline:{{ {{ ben@work.test = x }}, {{ carl@work.test = x }}, {{ jürgen@work.test = x }} }}
relay_transport = smtp:[127.0.0.1]:{onward}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_connection_cache_on_demand = no
smtputf8_enable = yes
local_header_rewrite_clients =
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{ dora@work.test = 450 4.2.0 greylisted }} }}, permit_mynetworks, reject
message_size_limit = 10000000
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_peername_lookup = no
"""
MASTER = """
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix."""

    folder: Path
    ports: dict[str, int]
    files: CertificateFiles

    def log(self) -> str:
        """What it has written down."""
        return (self.folder / "maillog").read_text(errors="replace")


@contextlib.contextmanager
def postfix(onward: int, services: Mapping[str, Mapping[str, str]]) -> Iterator[Postfix]:
    """Start it, and stop it at the end. Skips where it cannot run."""
    program = shutil.which("postfix", path="/usr/sbin:/sbin")
    if program is None or not DAEMONS.is_dir():
        pytest.skip("needs Postfix: apt-get install postfix")
    if os.getuid() != 0:
        pytest.skip("Postfix is started by root alone")
    folder = Path(tempfile.mkdtemp(prefix="posthouse-postfix-"))
    folder.chmod(0o755)  # its daemons are not root
    try:
        server = Postfix(
            folder, dict(zip(services, free_ports(len(services)), strict=True)), self_signed(folder, "postfix.test")
        )
        _write(server, onward, services)
        _run(program, folder, "start")
        try:
            for port in server.ports.values():
                _wait_for(port)
            yield server
        finally:
            _run(program, folder, "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(server: Postfix, onward: int, services: Mapping[str, Mapping[str, str]]) -> None:
    folder = server.folder
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    files = server.files
    main = MAIN.format(folder=folder, daemons=DAEMONS, onward=onward, certificate=files.certificate, key=files.key)
    (folder / "etc" / "main.cf").write_text(main, encoding="utf-8")
    ports = [
        f"127.0.0.1:{server.ports[name]} inet n - n - - smtpd\n"
        + "".join(f"  -o {{ {key} = {value} }}\n" for key, value in options.items())
        for name, options in services.items()
    ]
    (folder / "etc" / "master.cf").write_text("".join(ports) + MASTER)


def _run(program: str, folder: Path, verb: str) -> None:
    done = subprocess.run(
        [program, "-c", str(folder / "etc"), verb], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr


def _wait_for(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
            if sock.recv(4) in (b"220 ", b"554 "):
                return
        time.sleep(0.1)
    raise AssertionError(f"Postfix does not answer on port {port}")
