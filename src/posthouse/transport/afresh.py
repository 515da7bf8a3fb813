"""What waits for smart hosts is tried when the server starts or reloads: somebody may just have mended the settings.

A worker that comes in the place of one that ended knows nothing new, and lifts no rest. What could not be handed to a
smart host before, because of a wrong password, a wrong name or a port that is closed, does not wait for its next try
then, nor for the end of a rest. Where it fails again the destination rests again, after as many failures as always.
"""

import logging

from posthouse.mail.address import Domain
from posthouse.store import waiting
from posthouse.store.script import StoreError
from posthouse.transport.house import House
from posthouse.transport.relays import RelayPlan

log = logging.getLogger("posthouse.queue")


async def try_afresh(plan: RelayPlan, house: House) -> None:
    """Let what waits for smart hosts, of which the last attempt reached none, be tried now."""
    if plan.everything is None and not any(relay.host for _, relay in plan.routes):
        return
    try:
        count = await _all(plan, house)
    except StoreError as error:
        log.warning("what waits for smart hosts is tried when its time comes, and not now: %s", error)
        return
    if count:
        log.info("the server has started: what waits for smart hosts is tried now", extra={"messages": count})


async def _all(plan: RelayPlan, house: House) -> int:
    count, after = 0, ""
    while names := await house.store.read(waiting.unreached, after):  # a page at a time: others write in between
        after = names[-1]
        meant = [name for name in names if await plan.choose(Domain(name)) is not None]
        if meant:
            count += await house.store.run(waiting.try_afresh, house.moment(house.clock()), meant)
    return count
