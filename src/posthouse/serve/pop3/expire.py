"""What EXPIRE says (RFC 2449 §6.7): how long a message is left in INBOX by a rule of retention (decision 0129).

Who is logged in hears what holds for them. A stranger hears the shortest that any user has, with the word USER; that is
looked up once in LIFE for all of them, so that no stranger can make the store work by asking.
"""

import time
from weakref import WeakKeyDictionary

from posthouse.serve.pop3.state import Session
from posthouse.store import expiry
from posthouse.store.store import Store
from posthouse.transport.recent import Recent

LIFE = 60.0  # seconds for which the shortest is known; a rule takes a day at least before it removes anything

_shortest: WeakKeyDictionary[Store, Recent[str, int]] = WeakKeyDictionary()  # one store per worker


async def announced(talk: Session) -> str:
    """The capability as it is now. Raises Unavailable."""
    if talk.login is not None:
        days = await talk.house.store.read(expiry.inbox_days, talk.login.account)
        return f"EXPIRE {days}" if days else "EXPIRE NEVER"
    days = await _least(talk.house.store)
    return f"EXPIRE {days} USER" if days else "EXPIRE NEVER"


async def _least(store: Store) -> int:
    """The shortest rule for an INBOX of this server; 0: there is none."""
    known = _shortest.setdefault(store, Recent(1, LIFE))
    days = known.get("", time.monotonic())
    if days is None:
        days = await store.read(expiry.least_inbox_days)
        known.put("", days, time.monotonic())
    return days
