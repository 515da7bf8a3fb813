"""Which addresses a stranger may make us connect to (limits.md, S19).

The DNS of a stranger can name any address: this machine, the router, a database beside it. Such addresses are refused
unless the administrator has allowed their network.
"""

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1: an IPv4 address in the last 32 bits


def may_reach(ip: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether the address is one of the Internet, or in a network that is allowed."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    inner = _inner(address)
    if any(one.version == network.version and one in network for one in (address, inner) for network in allowed):
        return True
    return inner.is_global and not inner.is_multicast


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    teredo = address.teredo
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks from "10.0.0.0/8" or an address. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
