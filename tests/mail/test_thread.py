"""Threads against an oracle that follows the steps of RFC 5256 §3 one by one."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.ids import Millis
from posthouse.mail.thread import NESTING, Related, ThreadAlgorithm, Threader, print_threads, ranked

Tree = tuple[int, list["Tree"]]  # a message, or -1 for a dummy, and its children


class Node:
    """As the RFC's text has them: a message or a dummy, its parent, its children."""

    def __init__(self, message: int = -1) -> None:
        self.message = message
        self.parent: Node | None = None
        self.children: list[Node] = []

    def adopt(self, child: "Node") -> None:
        node: Node | None = self
        while node is not None:
            if node is child:
                return
            node = node.parent
        child.parent = self
        self.children.append(child)


def link(messages: list[Related]) -> list[Node]:
    table: dict[str, Node] = {}
    own: list[Node] = []
    for number, message in enumerate(messages):
        node = table.setdefault(message.message_id, Node()) if message.message_id else Node()
        if node.message >= 0:
            node = Node()
        node.message = number
        own.append(node)
        before = None
        for reference in message.parents.split():
            after = table.setdefault(reference, Node())
            if before is not None and after.parent is None:
                before.adopt(after)
            before = after
        if node.parent is not None:
            node.parent.children.remove(node)
            node.parent = None
        if before is not None:
            before.adopt(node)
    everything = list(dict.fromkeys([*table.values(), *own]))
    return [node for node in everything if node.parent is None]


def prune(node: Node) -> list[Node]:
    """The node, or what takes its place below another."""
    node.children = [kept for child in node.children for kept in prune(child)]
    return [node] if node.message >= 0 else node.children


def oracle(messages: list[Related], algorithm: ThreadAlgorithm) -> list[Tree]:
    def date(node: Node) -> tuple[int, int]:
        if node.message < 0:
            return min(map(date, node.children))
        return messages[node.message].sent, node.message

    roots: list[Node] = []
    for root in link(messages):
        kept = prune(root)
        roots += [root] if root.message >= 0 or len(kept) > 1 else kept
    roots.sort(key=date)
    for root in roots:
        root.children.sort(key=date)
    if algorithm is ThreadAlgorithm.REFS:
        roots.sort(key=lambda root: latest(root, messages))
    else:
        roots = by_subject(roots, messages)
        roots.sort(key=date)
    return [shape(root, date) for root in roots]


def latest(node: Node, messages: list[Related]) -> tuple[int, int]:
    own = [(messages[node.message].received, node.message)] if node.message >= 0 else []
    return max([*own, *(latest(child, messages) for child in node.children)])


def shape(node: Node, date: Callable[[Node], tuple[int, int]]) -> Tree:
    return node.message, [shape(child, date) for child in sorted(node.children, key=date)]


def by_subject(roots: list[Node], messages: list[Related]) -> list[Node]:
    def subject(node: Node) -> str:
        return messages[(node if node.message >= 0 else node.children[0]).message].subject

    def reply(node: Node) -> bool:
        return node.message >= 0 and bool(messages[node.message].reply)

    table: dict[str, Node] = {}
    subjects = {id(root): subject(root) for root in roots}
    for root in roots:
        if not (name := subjects[id(root)]):
            continue
        there = table.setdefault(name, root)
        if there.message >= 0 and (root.message < 0 or (reply(there) and not reply(root))):
            table[name] = root
    left = list(roots)
    for root in roots:
        name = subjects[id(root)]
        if not name or table[name] is root or root not in left:
            continue
        there = table[name]
        left.remove(root)
        if there.message < 0:
            there.children += root.children if root.message < 0 else [root]
        elif reply(root) and not reply(there):
            there.children.append(root)
        else:
            left.remove(there)
            table[name] = dummy = Node()
            dummy.children = [there, root]
            left.append(dummy)
    return left


def printed(tree: Tree) -> str:
    message, children = tree
    lists = "".join(f"({printed(child)})" for child in children)
    if message < 0:
        return lists
    if len(children) == 1:
        return f"{message + 1} {printed(children[0])}"
    return f"{message + 1}{' ' if children else ''}{lists}"


def threads(messages: list[Related], algorithm: ThreadAlgorithm) -> str:
    threader = Threader(algorithm)
    threader.add(messages)
    return print_threads(threader.finish(), range(1, len(messages) + 1)).decode()


IDS = st.sampled_from([f"{number}@x" for number in range(9)])
MESSAGES = st.lists(
    st.builds(
        Related,
        st.integers(0, 6).map(Millis),
        st.integers(0, 6).map(Millis),
        st.sampled_from(["", "", "A", "B", "C"]),
        st.integers(0, 1),
        IDS | st.just(""),
        st.lists(IDS, max_size=4).map(" ".join),
    ),
    max_size=12,
)


@given(MESSAGES, st.sampled_from([ThreadAlgorithm.REFERENCES, ThreadAlgorithm.REFS]))
def test_threads_are_those_of_the_steps(messages: list[Related], algorithm: ThreadAlgorithm) -> None:
    assert threads(messages, algorithm) == "".join(f"({printed(tree)})" for tree in oracle(messages, algorithm))


@given(MESSAGES)
def test_ordered_subject(messages: list[Related]) -> None:
    order = sorted(range(len(messages)), key=lambda number: (messages[number].subject, messages[number].sent, number))
    groups: dict[str, list[int]] = {}
    for number in order:
        groups.setdefault(messages[number].subject, []).append(number)
    trees = [(one[0], [(child, []) for child in one[1:]]) for one in groups.values()]
    trees.sort(key=lambda tree: (messages[tree[0]].sent, tree[0]))
    assert threads(messages, ThreadAlgorithm.ORDEREDSUBJECT) == "".join(f"({printed(tree)})" for tree in trees)


@given(st.lists(st.integers(0, 9), max_size=50))
def test_ranked_is_stable(keys: list[int]) -> None:
    assert ranked(keys) == sorted(range(len(keys)), key=keys.__getitem__)


def test_ranked_of_many() -> None:
    keys = [number * 7_919 % 1_000 for number in range(25_000)]
    assert ranked(keys) == sorted(range(len(keys)), key=keys.__getitem__)


def one(message_id: str, parents: str, sent: int = 0) -> Related:
    return Related(Millis(sent), Millis(0), "", 0, message_id, parents)


N = 20_000


@pytest.mark.parametrize(
    "messages",
    [
        [one(f"{n}@x", f"{n - 1}@x") for n in range(N)],
        [one(f"{n}@x", f"{n - 1}@x") for n in range(N, 0, -1)],
        [one(f"{n}@x", f"{(n * 7) % N}@x {(n * 13) % N}@x") for n in range(N)],
        [one("same@x", "same@x") for _ in range(N)],
        [one(f"{n}@x", " ".join(f"{n}.{m}@x" for m in range(50))) for n in range(N // 10)],
        [one(f"{n}@x", f"{n + 1}@x {n - 1}@x") for n in range(N)],
        [one(f"{n // 2}.{n % 2}@x", f"{n // 2 - 1}.0@x") for n in range(N)],
    ],
    ids=["chain", "chain backwards", "knot", "all the same", "strangers", "loops", "comb"],
)
def test_hostile_references_are_quick_and_shallow(messages: list[Related]) -> None:
    for algorithm in ThreadAlgorithm:
        began = time.process_time()
        text = threads(messages, algorithm)
        assert time.process_time() - began < 60
        assert sorted(map(int, text.replace("(", " ").replace(")", " ").split())) == list(range(1, len(messages) + 1))
        depth = deepest = 0
        for sign in text:
            depth += (sign == "(") - (sign == ")")
            deepest = max(deepest, depth)
        assert depth == 0
        assert deepest <= NESTING + 1


def test_the_example_of_the_rfc() -> None:
    """RFC 5256 §4: the second thread is 3, 6, and below it 4 with 23, and 44 with 7 and 96."""
    of = {3: "", 6: "3@x", 4: "3@x 6@x", 23: "4@x", 44: "6@x", 7: "44@x", 96: "7@x"}
    dates = {3: 1, 6: 2, 4: 3, 23: 4, 44: 5, 7: 6, 96: 7}
    messages = [one(f"{number}@x", of.get(number, ""), dates.get(number, 0)) for number in (2, 3, 4, 6, 7, 23, 44, 96)]
    threader = Threader(ThreadAlgorithm.REFERENCES)
    threader.add(messages)
    assert print_threads(threader.finish(), (2, 3, 4, 6, 7, 23, 44, 96)) == b"(2)(3 6 (4 23)(44 7 96))"
