"""A query in a PostgreSQL database, asked again and again: a few connections that are kept, each question read-only
and over in time.

Questions come from threads. The connections live on a loop of their own, in a thread of its own, so that every wait
has an end at any moment: for a name, a handshake, a lock of somebody else's, a server that stands still. A connection
that was lost is opened anew; one whose question was not answered is thrown away. What is put into the query are
parameters: the values travel beside its text and never become part of it.

asyncpg comes with the extra `postgresql`, and is imported when such a directory is configured. What the rows mean is
said in `store/userview.py`.
"""

import asyncio
import contextlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import ceil
from typing import Any, cast

from posthouse.net.directory import FOUND, PLACES, NoAnswer, Row, wrong_width

INSTALL = "pip install 'posthouse[postgresql]'"
# Octets that one question may bring; a row with an address and a hash has some hundred. Before the login has succeeded
# they are not counted: a server that was not verified and is not on this machine cannot say more than one octet.
ANSWERS = 1024 * 1024
KEPT = 60.0  # seconds for which an unused connection is kept; less than firewalls forget one
GRACE = 2.0  # seconds for a question to end after its time is over; then its thread leaves without it
WORDS = 500  # characters of what the database says that go into the log

# What stands in a query where no place can be: text in quotes ('...', E'...', "...", $tag$...$tag$), comments, casts
# (::text), and then a place. PostgreSQL 15 §4.1.
_PLACE = re.compile(
    r"""(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*\""""
    r"""|(?<![\w$])\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$"""
    r"""|--[^\n]*|/\*.*?\*/|::|:(?P<place>address|local|domain)\b""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class PostgresPlan:
    """Where the database is, and who asks. `host`: a name, an address, or the folder of its Unix socket. `tls`: the
    certificate must be of an authority and for `host`."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    tls: bool = True
    authorities: str = ""
    seconds: float = 5.0

    def __str__(self) -> str:
        if self.host.startswith("/"):
            return f"postgresql://{self.user}@/{self.database}?host={self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{self.user}@{host}:{self.port}/{self.database}"


def numbered(query: str) -> tuple[str, tuple[str, ...]]:
    """The query with $1, $2 ... for its places, and what each of them stands for. Each has a number of its own, because
    PostgreSQL wants one type of one number, and columns may be of several."""
    found: list[str] = []

    def number(piece: re.Match[str]) -> str:
        place = piece["place"]
        if place is None:
            return piece[0]
        found.append(place)
        return f"${len(found)}"

    return _PLACE.sub(number, query.strip().removesuffix(";")), tuple(found)


def has_place(query: str) -> bool:
    """Whether the query depends on who is asked for: the address, or the local part."""
    return not {PLACES[0], PLACES[1]}.isdisjoint(numbered(query)[1])


class _Counted(asyncio.Protocol):
    """The protocol of a connection whose answers have an end: asyncpg gathers whatever comes."""

    def __init__(self, plug: Any, transport: Any) -> None:
        self._plug, self._transport = plug, transport
        self.left = ANSWERS
        self.too_long = False

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.too_long = True
            self._transport.abort()
        else:
            self._plug.data_received(data)

    def eof_received(self) -> bool | None:
        return cast("bool | None", self._plug.eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        self._plug.connection_lost(error)

    def pause_writing(self) -> None:
        self._plug.pause_writing()

    def resume_writing(self) -> None:
        self._plug.resume_writing()


@dataclass(slots=True)
class _Kept:
    """A connection, how much it may still bring, and when it was used last."""

    connection: Any
    counted: _Counted
    used: float = 0.0


# What the attempt to connect has opened so far, in the task that attempts it and those that it starts.
_OPENED: ContextVar[list[asyncio.BaseTransport] | None] = ContextVar("opened", default=None)


class _Loop(asyncio.SelectorEventLoop):
    """Remembers what an attempt opens. asyncpg ends a failed one with the goodbye of TLS, and a server that stands
    still would have half a minute to answer it."""

    async def create_connection(self, *words: Any, **named: Any) -> Any:
        transport, protocol = await super().create_connection(*words, **named)
        opened = _OPENED.get()
        if opened is not None:
            opened.append(transport)
        return transport, protocol


class Postgres:
    """The query of one database. Raises ImportError where asyncpg is missing, OSError for authorities that are none."""

    def __init__(self, plan: PostgresPlan, query: str) -> None:
        import asyncpg

        self._asyncpg: Any = asyncpg
        self._plan = plan
        self._query, self._places = numbered(query)
        self._tls = ssl.create_default_context(cafile=plan.authorities or None) if plan.tls else False
        # Nothing can be written by mistake, and what goes on there after we left ends by itself.
        self._begin = f"BEGIN READ ONLY; SET LOCAL statement_timeout = {ceil(plan.seconds * 1000)}"
        self._kept: list[_Kept] = []  # seen on the loop alone, as is the next
        self._looks = False
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgresql", daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return str(self._plan)

    def rows(self, named: dict[str, str]) -> list[Row]:
        """What the query gives for these places, two rows at most. Waits. Raises NoAnswer."""
        values = tuple(named[place] for place in self._places)
        if any("\0" in value or not _is_unicode(value) for value in values):
            return []  # no text of PostgreSQL has these
        return self._wait(self._in_time(values))

    def close(self) -> None:
        """Give the connections back, and let the thread end. Whoever waits for an answer gets none."""
        if not self._loop.is_running():
            return
        with contextlib.suppress(NoAnswer):
            self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE)
        if not self._loop.is_running():
            self._loop.close()

    def _wait(self, question: Coroutine[Any, Any, list[Row]]) -> list[Row]:
        """In the thread of who asks."""
        try:
            asked = asyncio.run_coroutine_threadsafe(question, self._loop)
        except RuntimeError:  # the loop is closed
            question.close()
            raise NoAnswer("the server ends") from None
        try:
            return asked.result(self._plan.seconds + GRACE)
        except TimeoutError:
            asked.cancel()
            raise NoAnswer(f"{self._plan} does not answer in time") from None
        except CancelledError:
            raise NoAnswer("the server ends") from None

    async def _end(self) -> list[Row]:
        while self._kept:
            self._kept.pop().connection.terminate()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=GRACE / 2) if others else await asyncio.sleep(0)
        return []

    async def _in_time(self, values: tuple[str, ...]) -> list[Row]:
        try:
            async with asyncio.timeout(self._plan.seconds):
                return await self._asked(values)
        except NoAnswer:
            raise
        except Exception as error:  # asyncpg has many, and what a server sends it can make others of them
            raise NoAnswer(self._words(error)) from error

    async def _asked(self, values: tuple[str, ...]) -> list[Row]:
        """By a connection that is kept; where that was lost meanwhile, by a new one."""
        while self._kept:
            kept = self._kept.pop()
            if kept.connection.is_closed():
                continue
            try:
                return await self._by(kept, values)
            except NoAnswer:
                raise
            except Exception as error:
                if not self._was_lost(error):
                    raise
                self._forget(0.0)  # the others went the same way: the server was stopped
        return await self._by(await self._connected(), values)

    def _was_lost(self, error: Exception) -> bool:
        """Whether the connection had ended before the question: all but the server's own word about the question. What
        asyncpg raises then depends on how much of the end it has seen."""
        pg = self._asyncpg
        ends = isinstance(error, pg.PostgresConnectionError | pg.OperatorInterventionError)
        return ends or not isinstance(error, pg.PostgresError)

    async def _by(self, kept: _Kept, values: tuple[str, ...]) -> list[Row]:
        """Ask, and keep the connection where all went well."""
        kept.counted.left = ANSWERS
        try:
            rows = await self._read(kept.connection, values)
        except BaseException as error:
            kept.connection.terminate()
            if kept.counted.too_long:
                raise NoAnswer(f"{self._plan}: the answer is too long") from error
            raise
        kept.used = self._loop.time()
        self._kept.append(kept)
        self._look_later()
        return rows

    def _look_later(self) -> None:
        """End what was not used for a while, when that while is over; one look for all connections."""
        if self._kept and not self._looks:
            self._looks = True
            self._loop.call_later(KEPT, self._look)

    def _look(self) -> None:
        self._looks = False
        self._forget(KEPT)
        self._look_later()

    async def _read(self, connection: Any, values: tuple[str, ...]) -> list[Row]:
        await connection.execute(self._begin)
        # Without a name: statements with one are mistaken for others behind a PgBouncer.
        asked = await connection.prepare(self._query, name="")
        wrong = wrong_width(len(asked.get_attributes()))
        if wrong:
            raise NoAnswer(f"{self._plan}: {wrong}")
        try:
            rows = await (await asked.cursor(*values)).fetch(FOUND)
        except self._asyncpg.UntranslatableCharacterError:
            # The database has no such letters, so nobody in it has them. Its transaction is over all the same.
            rows = []
        await connection.execute("ROLLBACK")
        return [tuple(row) for row in rows]

    async def _connected(self) -> _Kept:
        opened: list[Any] = []
        _OPENED.set(opened)
        try:
            connection = await self._connect()
        except BaseException:
            for transport in opened:  # one for each address of the host, at most
                transport.abort()
            raise
        counted = _Counted(connection._protocol, connection._transport)
        connection._transport.set_protocol(counted)
        return _Kept(connection, counted)

    async def _connect(self) -> Any:
        plan = self._plan
        return await self._asyncpg.connect(
            host=plan.host,
            port=plan.port,
            user=plan.user,
            database=plan.database,
            password=plan.password,  # "" and not None: then it would look for one in the environment and in files
            ssl=self._tls,
            direct_tls=False,
            target_session_attrs="any",
            timeout=plan.seconds,
            statement_cache_size=0,
            server_settings={"application_name": "posthouse"},
        )

    def _forget(self, age: float) -> None:
        """End connections that were not used for so long."""
        now = self._loop.time()
        old = [kept for kept in self._kept if now - kept.used >= age]
        self._kept = [kept for kept in self._kept if now - kept.used < age]
        for kept in old:
            kept.connection.terminate()

    def _words(self, error: Exception) -> str:
        """What went wrong, and on which setting it depends, for the administrator."""
        return f"{self._plan}: {self._reason(error)}"[:WORDS]

    def _reason(self, error: Exception) -> str:
        plan, pg = self._plan, self._asyncpg
        match error:
            case TimeoutError():
                return f"no answer within {plan.seconds:g} seconds"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not believed ({error.verify_message}); look at directory.authorities"
            case ConnectionError() if "SSL upgrade" in str(error):
                return (
                    "it does not speak TLS (ssl in its postgresql.conf), and passwords do not cross a network without"
                )
            case socket.gaierror():
                return f"the name {plan.host} is not known ({error.strerror})"
            case OSError():
                return f"it cannot be reached ({os.strerror(error.errno) if error.errno else error})"
            case pg.InvalidPasswordError() | pg.InvalidAuthorizationSpecificationError():
                return f"it does not let us in ({error}); look at directory.password and its pg_hba.conf"
            case pg.InvalidCatalogNameError():
                return f"{error}; look at directory.url"
            case pg.InsufficientPrivilegeError():
                return f"{error}; GRANT SELECT to {plan.user}"
            case pg.SyntaxOrAccessError() | pg.ReadOnlySQLTransactionError() | pg.DataError():
                return f"{error}; look at directory.query"
        return f"{error or type(error).__name__}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half a pair
        return False
    return True
