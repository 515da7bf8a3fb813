"""The settings of the Posthouse under load: what the harness expects of a server."""

from pathlib import Path

PORTS = {
    "smtp_port": 20025,
    "submission_port": 20587,
    "imap_port": 20143,
    "imaps_port": 20993,
    "lmtp_port": 20024,
    "pop3_port": 20110,
}
SETTINGS = """\
hostname = "mx.bench.test"
data = "data"
workers = 2

[smtp]
listen = ["127.0.0.1:{smtp_port}"]

[submission]
listen = ["127.0.0.1:{submission_port}"]
listen_tls = []
add_sender = true

[imap]
listen = ["127.0.0.1:{imap_port}"]
listen_tls = ["127.0.0.1:{imaps_port}"]

[pop3]
listen = ["127.0.0.1:{pop3_port}"]
listen_tls = []

[lmtp]
listen = ["127.0.0.1:{lmtp_port}"]

[login]
allow_plaintext = true

[[relay.routes]]
domains = ["relay.test"]
host = "127.0.0.1"
port = 10599
tls = "opportunistic"

[limits.peer]
exempt_loopback = true
messages_hour = 1_000_000
recipients_day = 1_000_000
first_recipients_day = 1_000_000
"""


def write_settings(folder: Path) -> Path:
    """The settings file of a server whose data are in `folder`/data."""
    file = folder / "posthouse.toml"
    file.write_text(SETTINGS.format(**PORTS))
    return file
