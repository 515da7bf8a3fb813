"""Threads of messages: ORDEREDSUBJECT and REFERENCES (RFC 5256 §3), and REFS (draft-ietf-morg-inthread-01 section 4).

A message is its place in the order of the mailbox, from 0. The messages are added in that order, then `finish` gives
the forest. Nothing here recurses: a thread may be as deep as the mailbox is long. What somebody may write into
References is bounded: identifiers nobody owns by STRANGERS, the search for loops by STEPS.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from heapq import merge
from typing import NamedTuple

from posthouse.mail.ids import Millis

STRANGERS = 500_000  # msg-ids without a message in one mailbox; what refers to more of them stands for itself
STEPS = 20_000_000  # from child to parent while looking for loops; a link that would need more is left out
NESTING = 250  # parentheses inside each other; descendants below are shown as siblings, lest a client's parser fails
SORTED_AT_ONCE = 10_000  # numbers in one call of sorted(): some 3 ms in which no other thread runs

Children = dict[int, list[int]]


class ThreadAlgorithm(Enum):
    """thread-alg (RFC 5256 §5)."""

    ORDEREDSUBJECT = b"ORDEREDSUBJECT"
    REFERENCES = b"REFERENCES"
    REFS = b"REFS"


class Related(NamedTuple):
    """What threads are made of, as in the table `summary`, and when the message arrived."""

    sent: Millis
    received: Millis
    subject: str
    reply: int
    message_id: str
    parents: str


class Forest(NamedTuple):
    """Threads in order. A root is a message, or ~g: the dummy whose children are groups[g]."""

    roots: list[int]
    groups: list[list[int]]
    children: Children


class Threader:
    """The messages of one mailbox that are to be threaded, added in the order of the mailbox."""

    def __init__(self, algorithm: ThreadAlgorithm) -> None:
        self.algorithm = algorithm
        self.sent: list[int] = []
        self.received: list[int] = []
        self.subjects: list[int] = []  # a hash of each base subject, 0 for the empty one
        self.replies = bytearray()
        self._links = _Links()

    def add(self, messages: Iterable[Related]) -> None:
        """More messages, behind those that were added before."""
        linking = self.algorithm is not ThreadAlgorithm.ORDEREDSUBJECT
        for sent, received, subject, reply, message_id, parents in messages:
            self.sent.append(sent)
            self.received.append(received)
            self.subjects.append(hash(subject) if subject else 0)
            self.replies.append(reply)
            if linking:
                self._links.add(message_id, parents)

    def finish(self) -> Forest:
        """The threads of all that were added."""
        order = ranked(self.sent)
        if self.algorithm is ThreadAlgorithm.ORDEREDSUBJECT:
            return _by_subject(self.subjects, order)
        forest = _gather(self._links.pruned(), order)
        if self.algorithm is ThreadAlgorithm.REFS:
            return _by_arrival(forest, ranked(self.received))
        return _Merger(forest, self.subjects, self.replies).merge(order)


def ranked(keys: Sequence[int]) -> list[int]:
    """The places of the keys, lowest key first, equal ones in their order."""
    pieces = [
        sorted(range(start, min(start + SORTED_AT_ONCE, len(keys))), key=keys.__getitem__)
        for start in range(0, len(keys), SORTED_AT_ONCE)
    ]
    return pieces[0] if len(pieces) == 1 else list(merge(*pieces, key=keys.__getitem__))


def _by_subject(subjects: Sequence[int], order: Iterable[int]) -> Forest:
    """ORDEREDSUBJECT: the first message of a subject is the root of all others with it."""
    first: dict[int, int] = {}
    children: Children = {}
    for message in order:
        root = first.setdefault(subjects[message], message)
        if root != message:
            children.setdefault(root, []).append(message)
    return Forest(list(first.values()), [], children)


class _Links:
    """Step 1 of REFERENCES. A node is a msg-id, or a message whose msg-id is missing or somebody else's. Identifiers
    are kept as their hashes: 64 bits, keyed anew in each process, so nobody can make two of them meet."""

    def __init__(self) -> None:
        self.nodes: dict[int, int] = {}
        self.parent: list[int] = []  # of each node, -1 for none
        self.message: list[int] = []  # of each node, -1 for a dummy
        self.bears = bytearray()  # whether the node was ever made a parent
        self.of_message: list[int] = []
        self.steps = STEPS

    def node(self, message: int) -> int:
        """A new node."""
        self.parent.append(-1)
        self.message.append(message)
        self.bears.append(0)
        return len(self.parent) - 1

    def add(self, message_id: str, parents: str) -> None:
        """Steps 1.A and 1.B for the next message."""
        own = self._own(message_id)
        last = self._chain(parents) if parents else -1
        parent = self.parent
        if parent[own] == last:
            return
        parent[own] = -1
        if last >= 0:
            self._link(last, own)

    def _own(self, message_id: str) -> int:
        message = len(self.of_message)
        own = -1
        if message_id:
            key = hash(message_id)
            own = self.nodes.get(key, -1)
            if own < 0:
                own = self.nodes[key] = self.node(message)
            elif self.message[own] < 0:
                self.message[own] = message
            else:
                own = -1  # the msg-id of an earlier message: this one gets a unique one
        if own < 0:
            own = self.node(message)
        self.of_message.append(own)
        return own

    def _chain(self, parents: str) -> int:
        """Step 1.A: each reference the parent of the next. The last one, or -1."""
        nodes, parent = self.nodes, self.parent
        last = -1
        for key in map(hash, parents.split(" ")):
            node = nodes.get(key, -1)
            if node < 0:
                if len(parent) - len(self.of_message) > STRANGERS:
                    continue
                node = nodes[key] = self.node(-1)
            if last >= 0 and parent[node] < 0:
                self._link(last, node)
            last = node
        return last

    def _link(self, above: int, below: int) -> None:
        """Make `above` the parent of `below`, which has none, unless that would close a loop."""
        if above == below or (self.bears[below] and self._descends(above, below)):
            return
        self.parent[below] = above
        self.bears[above] = 1

    def _descends(self, node: int, ancestor: int) -> bool:
        parent = self.parent
        left = self.steps
        while node >= 0 and node != ancestor and left > 0:
            node = parent[node]
            left -= 1
        self.steps = left
        return node >= 0

    def pruned(self) -> list[int]:
        """Step 3: for each message the message above it, -1 for none, or -2 - d where all above are dummies and d is
        the topmost of them."""
        parent, message = self.parent, self.message
        known: dict[int, int] = {}  # of dummies
        above: list[int] = []
        for own in self.of_message:
            path: list[int] = []
            node = parent[own]
            while node >= 0 and message[node] < 0 and node not in known:
                path.append(node)
                node = parent[node]
            if node < 0:
                found = -2 - path[-1] if path else -1
            else:
                found = message[node] if message[node] >= 0 else known[node]
            known.update(dict.fromkeys(path, found))
            above.append(found)
        return above


def _gather(above: Sequence[int], order: Iterable[int]) -> Forest:
    """Steps 2 and 4: roots, dummies of the top level and children, each in the order of their sent dates. A dummy
    with one child is that child."""
    children: Children = {}
    dummies: dict[int, list[int]] = {}
    places: list[int] = []
    for message in order:
        parent = above[message]
        if parent >= 0:
            children.setdefault(parent, []).append(message)
        elif parent == -1:
            places.append(message)
        elif parent in dummies:
            dummies[parent].append(message)
        else:
            dummies[parent] = [message]
            places.append(parent)
    roots: list[int] = []
    groups: list[list[int]] = []
    for place in places:
        if place >= 0:
            roots.append(place)
        elif len(dummies[place]) == 1:
            roots.append(dummies[place][0])
        else:
            roots.append(~len(groups))
            groups.append(dummies[place])
    return Forest(roots, groups, children)


class _Merger:
    """Steps 5 and 6: threads of one base subject are put together."""

    def __init__(self, forest: Forest, subjects: Sequence[int], replies: bytearray) -> None:
        self.roots, self.groups, self.children = forest
        self.subjects = subjects
        self.replies = replies
        self.table: dict[int, int] = {}
        self.gone: set[int] = set()  # roots that were put below another
        self.stirred: list[list[int]] = []  # siblings that must be sorted again

    def merge(self, order: Sequence[int]) -> Forest:
        """What is left of the roots, in the order of sent dates."""
        named = [(root, subject) for root in self.roots if (subject := self.subjects[self.first(root)])]
        for root, subject in named:
            self.enter(root, subject)
        for root, subject in named:
            target = self.table[subject]
            if target != root and root not in self.gone:
                self.put(root, target, subject)
        if not self.gone:
            return Forest(self.roots, self.groups, self.children)
        rank = [0] * len(order)
        for place, message in enumerate(order):
            rank[message] = place
        for siblings in self.stirred:
            siblings.sort(key=rank.__getitem__)
        places: dict[int, int] = {rank[self.first(root)]: root for root in self.roots if root not in self.gone}
        return Forest([places[place] for place in range(len(order)) if place in places], self.groups, self.children)

    def first(self, root: int) -> int:
        """The message itself, or the first child of a dummy."""
        return root if root >= 0 else self.groups[~root][0]

    def enter(self, root: int, subject: int) -> None:
        """Step 5.B."""
        there = self.table.setdefault(subject, root)
        if there >= 0 and (root < 0 or (self.replies[there] and not self.replies[root])):
            self.table[subject] = root

    def put(self, root: int, target: int, subject: int) -> None:
        """Step 5.C. The target is a dummy wherever one of this subject exists."""
        self.gone.add(root)
        if target < 0:
            siblings = self.groups[~target]
            siblings.extend(self.groups[~root] if root < 0 else [root])
        elif self.replies[root] and not self.replies[target]:
            siblings = self.children.setdefault(target, [])
            siblings.append(root)
        else:
            self.gone.add(target)
            siblings = [target, root]
            self.table[subject] = dummy = ~len(self.groups)
            self.groups.append(siblings)
            self.roots.append(dummy)
        if not (self.stirred and self.stirred[-1] is siblings):
            self.stirred.append(siblings)


def _by_arrival(forest: Forest, arrivals: Iterable[int]) -> Forest:
    """REFS: a thread stands where its latest arrival stands."""
    thread: dict[int, int] = {}
    for root in forest.roots:
        stack = [root] if root >= 0 else list(forest.groups[~root])
        while stack:
            message = stack.pop()
            thread[message] = root
            stack.extend(forest.children.get(message, ()))
    latest: dict[int, None] = {}
    for message in arrivals:
        latest.pop(thread[message], None)
        latest[thread[message]] = None
    return forest._replace(roots=list(latest))


# --- printing


def print_threads(forest: Forest, numbers: Sequence[int]) -> bytes:
    """1*thread-list (RFC 5256 §5), or nothing; `numbers` are those of the messages."""
    names = list(map(str, numbers))
    out: list[str] = []
    for root in forest.roots:
        if root >= 0 and root not in forest.children:
            out.append(f"({names[root]})")
        elif root >= 0:
            _print(forest.children, names, ["(", root, ")"], out)
        else:
            stack: list[int | str] = ["(", ")"]
            stack[1:1] = [part for child in forest.groups[~root] for part in ("(", child, ")")]
            _print(forest.children, names, stack, out)
    return "".join(out).encode()


def _print(children: Children, names: Sequence[str], parts: list[int | str], out: list[str]) -> None:
    """The parts in order: signs as they are, messages with what is below them."""
    stack = parts[::-1]
    depth = 0
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            out.append(part)
            depth += 1 if part == "(" else -1
            continue
        below = _chain(children, names, part, out)
        if below and depth < NESTING:
            stack.extend(sign for child in reversed(below) for sign in (")", child, "("))
        elif below:
            out.extend(f"({names[message]})" for message in _descendants(children, below))


def _chain(children: Children, names: Sequence[str], message: int, out: list[str]) -> Sequence[int]:
    """Print parent and child as long as there is one child; the several children at the end, if any."""
    while True:
        out.append(names[message])
        below = children.get(message, ())
        if not below:
            return ()
        out.append(" ")
        if len(below) > 1:
            return below
        message = below[0]


def _descendants(children: Children, below: Sequence[int]) -> Iterable[int]:
    stack = list(reversed(below))
    while stack:
        message = stack.pop()
        yield message
        stack.extend(reversed(children.get(message, ())))
