"""References with alternatives, and alignment with NIST's costs, as sclite does both.

    i've { um / uh / @ } seen (the) cat

Braces hold alternatives and may be nested, ``@`` is no word at all, and a word in parentheses may be left
out. Such a reference is a network of words: the alignment takes the path through it that costs least.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from s4speech.errors import InputError
from s4speech.metrics.alignment import Pair


class Costs(NamedTuple):
    """What an edit costs. A forgiven word (optional, left out) is no error, but worse than a correct one."""

    substitution: int
    deletion: int
    insertion: int
    forgiven: int
    nothing: int  # to pass through "@": decides between paths that are otherwise equal


LEVENSHTEIN = Costs(1000, 1000, 1000, 2, 1)
SCLITE = Costs(4000, 3000, 3000, 2000, 1)


class Edge(NamedTuple):
    """A word of the reference, or (None) a way past without one."""

    source: int
    word: str | None
    optional: bool = False
    free: bool = False  # joins alternatives, where "@" is a choice that costs


@dataclass
class Network:
    """A reference: the edges into each node. An edge comes from a node of lower number; 0 is the start."""

    edges: list[list[Edge]] = field(default_factory=lambda: [[]])

    def node(self, *edges: Edge) -> int:
        """Add a node that ``edges`` lead to. Returns its number."""
        self.edges.append(list(edges))
        return len(self.edges) - 1


def is_marked(text: str) -> bool:
    """Tell whether ``text`` has alternatives or optional words."""
    return any(mark in text for mark in "{}") or any(is_optional(word) for word in text.split())


def plain(words: Sequence[str]) -> Network:
    """Return the network of a reference that is only words."""
    network = Network()
    for position, word in enumerate(words):
        network.node(Edge(position, word))
    return network


def parse(text: str) -> Network:
    """Return the network of a reference in sclite's notation.

    Raises InputError: a brace without its partner, or braces that hold fewer than two alternatives.
    """
    network, tokens = Network(), list(_tokens(text))
    place = _sequence(network, tokens, 0, 0, depth=0)[1]
    if place < len(tokens):
        raise InputError(f"'{_short(text)}': a '}}' without its '{{'; wanted {{ a / b }}")
    return network


def align_network(network: Network, hyp: Sequence[str], costs: Costs = LEVENSHTEIN) -> tuple[Pair, ...]:
    """Align the words of ``hyp`` to the cheapest path through ``network``.

    Of equally cheap ones, from the end: a substitution before an insertion before a deletion, as sclite. An
    optional word that is left out is a pair of mark C with no ``hyp``; its ``ref`` has the parentheses.
    """
    size = len(hyp) + 1
    best: list[list[int]] = []  # by node and number of hyp words heard: cost
    back: list[list[tuple[int, Edge | None]]] = []  # how: words of hyp taken (0, 1), edge (None: insertion)
    for edges in network.edges:
        cost: list[int] = []
        step: list[tuple[int, Edge | None]] = []
        for heard in range(size):
            ways = _moves(edges, best, hyp, heard, costs, cost)
            # min keeps the first of equals. The start is the only cell without a way into it.
            value, move = min(ways, key=itemgetter(0), default=(0, (0, None)))
            cost.append(value)
            step.append(move)
        best.append(cost)
        back.append(step)
    return tuple(_trace(back, hyp))


def _moves(
    edges: Sequence[Edge],
    best: Sequence[Sequence[int]],
    hyp: Sequence[str],
    heard: int,
    costs: Costs,
    row: Sequence[int],
) -> Iterator[tuple[int, tuple[int, Edge | None]]]:
    """Yield the ways into a cell with their costs, the preferred one first."""
    if heard:
        word = hyp[heard - 1]
        for edge in edges:
            if edge.word is not None:
                wrong = 0 if edge.word == word else costs.substitution
                yield best[edge.source][heard - 1] + wrong, (1, edge)
    for edge in edges:
        if edge.word is None:
            yield best[edge.source][heard] + (0 if edge.free else costs.nothing), (0, edge)
    if heard:
        yield row[heard - 1] + costs.insertion, (1, None)
    for edge in edges:
        if edge.word is not None:
            yield best[edge.source][heard] + (costs.forgiven if edge.optional else costs.deletion), (0, edge)


def _trace(back: Sequence[Sequence[tuple[int, Edge | None]]], hyp: Sequence[str]) -> list[Pair]:
    pairs: list[Pair] = []
    node, heard = len(back) - 1, len(hyp)
    while node or heard:
        taken, edge = back[node][heard]
        said = hyp[heard - 1] if taken else ""
        if edge is None:
            pairs.append(Pair("I", "", said))
        elif edge.word is not None:
            ref = f"({edge.word})" if edge.optional else edge.word
            right = edge.word == said if taken else edge.optional
            pairs.append(Pair("C" if right else "S" if taken else "D", ref, said))
        heard -= taken
        node = node if edge is None else edge.source
    return pairs[::-1]


def _tokens(text: str) -> Iterator[str]:
    """Yield braces, words, and the slashes between alternatives; outside of braces a slash is text."""
    depth = 0
    for part in re.findall(r"[{}]|[^{}]+", text):
        if part in "{}":
            depth += 1 if part == "{" else -1
            yield part
        else:
            yield from re.findall(r"/|[^\s/]+", part) if depth > 0 else part.split()


def _sequence(network: Network, tokens: Sequence[str], place: int, node: int, depth: int) -> tuple[int, int]:
    """Add the words from ``tokens[place]`` on after ``node``, up to what ends an alternative.

    Returns the last node and where it stopped.
    """
    while place < len(tokens):
        token = tokens[place]
        if token == "}" or (token == "/" and depth):
            break
        if token == "{":
            node, place = _alternatives(network, tokens, place + 1, node, depth + 1)
            continue
        if depth and token == "@":
            node = network.node(Edge(node, None))
        elif is_optional(token):
            node = network.node(Edge(node, token[1:-1], optional=True))
        else:
            node = network.node(Edge(node, token))
        place += 1
    return node, place


def _alternatives(
    network: Network, tokens: Sequence[str], place: int, node: int, depth: int
) -> tuple[int, int]:
    """Add what is in braces, from after the opening one. Returns the node after them and the place."""
    ends = []
    while True:
        end, place = _sequence(network, tokens, place, node, depth)
        ends.append(Edge(end, None, free=True))
        if place == len(tokens):
            raise InputError(f"'{_short(' '.join(tokens))}': a '{{' without its '}}'; wanted {{ a / b }}")
        if tokens[place] == "}":
            break
        place += 1
    if len(ends) < 2:
        raise InputError(f"'{_short(' '.join(tokens))}': braces with one alternative; wanted {{ a / b }}")
    return network.node(*ends), place + 1


def is_optional(word: str) -> bool:
    """Tell whether ``word`` is in parentheses."""
    return len(word) > 2 and word[0] == "(" and word[-1] == ")"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
