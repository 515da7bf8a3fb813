"""USE, the parameter of CREATE that says what a mailbox is for (RFC 6154 §3, RFC 8457 §3, RFC 4466 §2.2).

It does not know which uses there are: an attribute that is none is refused by the session, with USEATTR.
"""

import re

from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import ATOM, Scanner

USES = 20  # attributes of one CREATE; eight are known

# RFC 6154 §6   use-attr = "\All" / … / use-attr-ext ;  use-attr-ext = "\" atom
_USE = re.compile(rb"\\" + ATOM.pattern)


def parse_uses(scanner: Scanner) -> tuple[str, ...] | None:
    """`[SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]` behind the name of a mailbox: the attributes in lower
    case without backslash, each once; None without the parameter. Raises Fault."""
    if scanner.ended:
        return None
    scanner.space()
    scanner.mark(b"(")
    if not scanner.take(b"USE "):
        raise Fault("CREATE knows no parameter but USE.")
    uses = scanner.parenthesized(_use, empty=True)
    scanner.mark(b")")
    if len(uses) > USES:
        raise over_limit(f"CREATE takes at most {USES} uses.")
    return tuple(dict.fromkeys(uses))


def _use(scanner: Scanner) -> str:
    return scanner.match(_USE, "a special use such as \\Sent")[0][1:].decode("ascii").lower()
