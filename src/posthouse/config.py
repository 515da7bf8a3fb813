"""Settings: one TOML file, checked whole, as frozen values. docs/operate/settings.md has a line for each.

Everything has a default, so the file may be empty. `POSTHOUSE__SMTP__LISTEN='[2525]'` in the environment overrides
`smtp.listen`; its value is TOML, or plain text where that is no TOML. No limit can be turned off: 0 is refused.
"""

import difflib
import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from posthouse.config_directory import problems as problems_of_directory
from posthouse.config_directory import settle_directory
from posthouse.config_login import problems as problems_login
from posthouse.config_login import settle_login
from posthouse.config_octets import Octets, parse_octets
from posthouse.config_out import problems as problems_out
from posthouse.config_out import settle_relay, settle_sending
from posthouse.config_quota import problems as problems_quota
from posthouse.config_sections import Certificate, Listen, Settings, Tls
from posthouse.net.nameservers import Trust, servers_of

ENVIRONMENT = "POSTHOUSE__"
FILE_VARIABLE = "POSTHOUSE_CONFIG"  # names the file where `--config` does not
SETTINGS_FILE = 1024 * 1024  # octets; more is no settings file


class ConfigError(Exception):
    """The settings cannot be used. `problems` has a sentence for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# --- from the file to values


def default_file() -> Path:
    """Where the file is when nobody says: $POSTHOUSE_CONFIG, /etc/posthouse, or the user's own folder."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/etc/posthouse/posthouse.toml")
    from platformdirs import user_config_path  # only where it is needed: it costs an import

    return user_config_path("posthouse") / "posthouse.toml"


def default_data() -> Path:
    """Where mail is kept when nobody says."""
    if os.geteuid() == 0:
        return Path("/var/lib/posthouse")
    from platformdirs import user_data_path

    return user_data_path("posthouse")


def load(file: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file (None: the default file, which need not be there unless $POSTHOUSE_CONFIG names it).
    Raises ConfigError."""
    wanted = file is not None or bool(os.environ.get(FILE_VARIABLE))
    file = (file or default_file()).absolute()
    table: dict[str, Any] = {}
    if wanted or file.exists():
        table = read_table(file)
    try:
        return settle(override(table, environment), file.parent)
    except ConfigError as error:
        raise ConfigError([f"{file}: {problem}" for problem in error.problems]) from error


def read_table(file: Path) -> dict[str, Any]:
    """The file as TOML. Raises ConfigError."""
    try:
        with file.open("rb") as stream:
            octets = stream.read(SETTINGS_FILE + 1)
        if len(octets) > SETTINGS_FILE:
            raise ConfigError([f"{file}: this is larger than a settings file can be (1 MiB)"])
        return tomllib.loads(octets.decode("utf-8"))
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: not UTF-8 text (octet {error.start + 1})"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: not valid TOML: {error}"]) from error


def override(table: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The table with what the environment says in its place: POSTHOUSE__LOG__LEVEL=debug."""
    result = json.loads(json.dumps(table, default=str))
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT):
            continue
        *sections, key = name.removeprefix(ENVIRONMENT).lower().split("__")
        place = result
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError([f"{name} in the environment: {section} is not a table"])
            place = inner
        place[key] = _toml_value(text)
    return dict(result)


def _toml_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def settle(table: Mapping[str, Any], folder: Path = Path("/")) -> Settings:
    """Values from a table, all problems found at once. Relative paths begin at `folder`. Raises ConfigError."""
    problems: list[str] = []
    settings = _section(table, Settings, "", problems)
    if problems:
        raise ConfigError(problems)
    assert isinstance(settings, Settings)
    problems += problems_out(settings.relay, settings.sending)
    problems += [*problems_login(settings.login), *problems_quota(settings.quota)]
    problems += problems_of_directory(settings.directory)
    try:
        servers_of(settings.dns.servers, Trust(settings.dns.trust))
    except ValueError as error:
        problems.append(f"dns.servers: {error}; an IP address is expected, with or without a port")
    if problems:
        raise ConfigError(problems)
    return msgspec.structs.replace(
        settings,
        hostname=settings.hostname.rstrip(".") or socket.gethostname(),
        data=str(folder / settings.data if settings.data else default_data()),
        relay=settle_relay(settings.relay, folder),
        sending=settle_sending(settings.sending, folder),
        login=settle_login(settings.login, folder),
        directory=settle_directory(settings.directory, folder),
        tls=Tls(
            tuple(Certificate(str(folder / c.certificate), str(folder / c.key)) for c in settings.tls.certificates)
        ),
    )


def _section(value: object, kind: type[Struct], path: str, problems: list[str]) -> Struct | None:
    if not isinstance(value, Mapping):
        problems.append(f"{path}: expected a table, got {_shown(value)}")
        return None
    before = len(problems)
    prefix = f"{path}." if path else ""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    problems += [_unknown(prefix, key, list(fields)) for key in value if key not in fields]
    found = {}
    for name, field in fields.items():
        if name in value:
            found[name] = _value(value[name], field.type, prefix + name, problems)
        elif field.required:
            problems.append(f"{prefix}{name}: missing")
    return kind(**found) if len(problems) == before else None


def _value(value: object, kind: Any, path: str, problems: list[str]) -> object:
    if kind is Listen or kind is Octets:
        return _spelled(value, kind, path, problems)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _section(value, kind, path, problems)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            problems.append(f"{path}: expected a list, got {_shown(value)}")
            return ()
        one = get_args(kind)[0]
        return tuple(_value(each, one, f"{path}[{index}]", problems) for index, each in enumerate(value))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(f"{path}: {_worded(str(error), kind)}, got {_shown(value)}")
        return None


def _spelled(value: object, kind: Any, path: str, problems: list[str]) -> object:
    found = parse_listen(value) if kind is Listen else parse_octets(value)
    if found is None:
        wanted = 'a port (1 to 65535), "address:port" or "unix:path"' if kind is Listen else 'octets, such as "50 MiB"'
        problems.append(f"{path}: expected {wanted}, got {_shown(value)}")
    return found


def _unknown(prefix: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {prefix}{close[0]}?" if close else f"known here: {', '.join(known)}"
    return f"{prefix}{key}: unknown setting; {hint}"


def _shown(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:80]


_WORDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}


def _worded(message: str, kind: Any) -> str:
    """msgspec's "Expected `int` >= 1" for people."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(base) is Literal:
        return f"expected one of {', '.join(get_args(base))}"
    if "matching regex" in message:
        return "expected a host name such as mail.example.org"
    words = _WORDS.get(getattr(base, "__name__", ""), "another kind of value")
    bound = re.search(r"`(?:int|float)` (>=|>|<=) ([\d.]+)", message)
    if bound is None:
        return f"expected {words}"
    return f"expected {words} {({'>=': 'of at least', '>': 'above', '<=': 'of at most'})[bound[1]]} {bound[2]}"


def parse_listen(value: object) -> Listen | None:
    """Where to listen: 25, "25", "127.0.0.1:25", "[::1]:25", "*:25" or "unix:run/lmtp.sock"; None otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Listen("*", value) if 0 < value < 65536 else None
    if not isinstance(value, str):
        return None
    if value.startswith("unix:"):
        return Listen(path=value.removeprefix("unix:")) if len(value) > len("unix:") else None
    host, _, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    return Listen(host or "*", int(port))
