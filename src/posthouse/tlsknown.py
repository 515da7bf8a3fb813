"""`posthouse tls`: what is known of the TLS of another domain, and how it is forgotten, while the server runs."""

import json

from posthouse.admin import Refused, domain_of
from posthouse.store import tlsmemory
from posthouse.store.moment import format_minute, wall_clock
from posthouse.store.store import SyncStore
from posthouse.transport.remembered import REMEMBERED, given_up
from posthouse.trust.mtasts import Mode

ENFORCED = f"mode: {Mode.ENFORCE.value}"  # as Policy.lines has it


def show_known(store: SyncStore, domain: str, *, as_json: bool) -> None:
    """posthouse tls show. Raises Refused."""
    name = domain_of(domain).name
    now = wall_clock()
    seen, policy = store.read(tlsmemory.seen, name), store.read(tlsmemory.policy, name)
    holds = seen is not None and seen.last + REMEMBERED >= now and not given_up(seen)
    if as_json:
        found = {
            "domain": name,
            "tls_last": seen.last if seen else None,
            "tls_refused_since": seen.failing or None if seen else None,
            "tls_wanted": holds,
            "mta_sts": policy.text.splitlines() if policy else None,
            "mta_sts_expires": policy.expires if policy else None,
        }
        print(json.dumps(found, indent=2))
        return
    if seen is None:
        print(f"{name} has not taken mail over TLS from here.")
    else:
        print(f"{name} took mail over TLS last on {format_minute(seen.last)}; {_meaning(holds=holds)}")
        if seen.failing:
            print(f"It has refused TLS since {format_minute(seen.failing)}.")
    if policy is None:
        print("No MTA-STS policy of it is kept.")
    else:
        until = "holds until" if policy.expires > now else "expired on"
        print(f"Its MTA-STS policy {until} {format_minute(policy.expires)}: {', '.join(policy.text.splitlines())}")


def forget(store: SyncStore, domain: str) -> None:
    """posthouse tls forget. Raises Refused."""
    name = domain_of(domain).name
    if not store.run(tlsmemory.forget_tls, name):
        raise Refused(f"nothing is remembered of the TLS of {name}")
    policy = store.read(tlsmemory.policy, name)
    if policy is not None and policy.expires > wall_clock() and ENFORCED in policy.text.splitlines():
        until = format_minute(policy.expires)
        print(f"Forgotten; but the MTA-STS policy of {name} still asks for TLS, until {until} at least.")
        return
    print(f"{name} may take mail without TLS again, within half a minute.")


def _meaning(*, holds: bool) -> str:
    return "it gets no mail without it." if holds else "it may do without it."
