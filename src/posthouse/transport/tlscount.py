"""Counts sessions for TLS reports: in memory first, once a minute in the store (RFC 8460 §4)."""

import asyncio
import json
import logging
from collections.abc import Callable

from posthouse.mail.ids import Millis
from posthouse.net.peer import TlsFailure
from posthouse.store import tlsreports
from posthouse.store.script import StoreError
from posthouse.store.store import Store
from posthouse.store.tlsmemory import DAY
from posthouse.store.tlsreports import SessionRow
from posthouse.transport.target import Target
from posthouse.trust.reports import REASON, Applied, Counted, Failure, PolicyType

SECONDS = 60.0  # between two writes; so much is lost when a worker is killed
KINDS = 5_000  # of sessions that are held meanwhile; more are not counted

log = logging.getLogger(__name__)

Key = tuple[int, Applied, str, str, str, str]


class TlsCount:
    """What one worker has counted and not yet written."""

    def __init__(self, store: Store, clock: Callable[[], Millis]) -> None:
        self._store = store
        self._clock = clock
        self._sessions: dict[Key, int] = {}

    def saw_tls(self, target: Target, ip: str, failure: TlsFailure | None) -> None:
        """`Sending.saw_tls`: how the TLS of a session went."""
        if target.applied is None:
            return
        if failure is None:
            self._add(target.applied, "", "", "", "")
        else:
            self._add(target.applied, failure.value, target.host, ip, "")

    def unnamed(self, applied: Applied, host: str) -> None:
        """`Routing.unnamed`: the DNS names a host that the policy does not (RFC 8461 §5)."""
        self._add(applied, Failure.VALIDATION.value, host, "", "this host is not in the policy")

    def no_policy(self, domain: str, reason: str) -> None:
        """`told` of Policies: a policy that is announced could not be had (RFC 8460 §4.3.2.2)."""
        failure = Failure.STS_INVALID if reason.startswith(("the policy", "'")) else Failure.STS_FETCH
        if "certificate is not good" in reason:
            failure = Failure.STS_WEBPKI
        self._add(Applied(domain, PolicyType.STS), failure.value, "", "", reason[:REASON])

    def _add(self, applied: Applied, failure: str, host: str, ip: str, reason: str) -> None:
        key = (self._clock() // DAY, applied, failure, host, ip, reason)
        if key in self._sessions or len(self._sessions) < KINDS:
            self._sessions[key] = self._sessions.get(key, 0) + 1

    async def write(self) -> None:
        """Put what was counted into the store. Raises StoreError; then it is kept for the next time."""
        taken, self._sessions = self._sessions, {}
        if not taken:
            return
        rows = [
            SessionRow(day, applied.domain, _policy_text(applied), failure, host, ip, reason, sessions)
            for (day, applied, failure, host, ip, reason), sessions in taken.items()
        ]
        try:
            await self._store.run(tlsreports.count, rows)
        except StoreError:
            self._sessions = {**taken, **self._sessions}
            raise

    async def keep(self) -> None:
        """Write from time to time, and once more at the end."""
        try:
            while True:
                await asyncio.sleep(SECONDS)
                try:
                    await self.write()
                except StoreError as error:
                    log.warning("sessions for TLS reports were not written: %s", error)
        finally:
            await self.write()


def _policy_text(applied: Applied) -> str:
    return json.dumps([applied.kind.value, applied.lines, applied.patterns])


def counted(row: SessionRow) -> Counted:
    """What a row says."""
    kind, lines, patterns = json.loads(row.policy)
    applied = Applied(row.domain, PolicyType(kind), tuple(lines), tuple(patterns))
    failure = Failure(row.failure) if row.failure else None
    return Counted(applied, failure, row.host, row.ip, row.reason, row.sessions)
