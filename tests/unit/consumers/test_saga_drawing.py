"""A saga's definition as a Mermaid diagram: every line is one that Mermaid reads, and leads where the saga does."""

import re
from collections import defaultdict
from typing import Any

import pytest
from msgspec import Struct

from consumers import Complete, Saga, Timer, on, step
from consumers.sagas.draw import mermaid


class Ingestion(Struct, frozen=True):
    source: str = ""
    is_large: bool = False


class Approved(Struct, frozen=True):
    source: str


async def fetch(data: Ingestion) -> None: ...
async def forget(data: Ingestion) -> None: ...
async def remove(data: Ingestion) -> None: ...


def is_large(data: Ingestion) -> bool:
    return data.is_large


@on(Approved, correlate=lambda event: event.source, starts=True)
def approved(data: Ingestion, event: Approved) -> Ingestion:
    return Ingestion(event.source)


@on(Timer('over "due" #1 <b>'))
def overdue(data: Ingestion) -> Complete:
    return Complete()


_LABEL = r'"(?:[^"<>#]|#\w+;|<br/>)*"'
_SHAPES = (
    rf"\(\[(?:{_LABEL}|\w+)\]\)",
    rf"\[{_LABEL}\]",
    rf"\{{\{{{_LABEL}\}}\}}",
    rf"\{{{_LABEL}\}}",
    rf">{_LABEL}\]",
    r"\(\( \)\)",
)
_NODE = re.compile(rf"(\w+)(?:{'|'.join(_SHAPES)})(?::::(\w+))?")
_EDGE = re.compile(r"(\w+) (-->|-\.->)(?:\|([\w ]+)\|)? (\w+)")
_BOX = re.compile(rf"subgraph (\w+) \[{_LABEL}\]")


class Diagram:
    """What a diagram says. Raises for a line that is none of Mermaid's, or names a node that is not there."""

    def __init__(self, text: str) -> None:
        self.nodes: dict[str, str] = {}
        self.edges: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        self.boxes: dict[str, list[str]] = {}
        first, *lines = text.splitlines()
        assert first == "flowchart TD"
        box: str | None = None
        for line in map(str.strip, lines):
            if found := _BOX.fullmatch(line):
                assert box is None
                box = found[1]
                self.boxes[box] = []
            elif line == "end":
                assert box is not None
                box = None
            elif found := _EDGE.fullmatch(line):
                self.edges[found[1]].append((found[2], found[3] or "", found[4]))
            elif found := _NODE.fullmatch(line):
                assert found[1] not in self.nodes
                self.nodes[found[1]] = line
                if box is not None:
                    self.boxes[box].append(found[1])
            else:
                assert re.fullmatch(r"classDef \w+ [\w:-]+", line), line
        assert box is None
        known = self.nodes.keys() | self.boxes.keys()
        assert {end for one, ends in self.edges.items() for end in (one, *(each[2] for each in ends))} <= known

    def after(self, node: str, arrow: str = "-->") -> list[str]:
        return [end for kind, _, end in self.edges[node] if kind == arrow]

    def named(self, label: str) -> str:
        (found,) = [node for node, line in self.nodes.items() if label in line]
        return found


def drawn(saga: Saga) -> Diagram:
    return Diagram(mermaid(saga))


WHOLE = (
    Saga("ingestion", data=Ingestion, version=3, deadline="1h", reactions=[approved, overdue])
    .step("fetch", fetch, compensate=forget)
    .step("shrink", fetch, when=is_large)
    .parallel(step("store", fetch, compensate=remove), step("index", fetch, when=lambda data: True))
    .step("pay", fetch, kind="pivot")
    .step("report", fetch, kind="retriable")
)


def test_steps_follow_each_other_from_the_start_to_the_end() -> None:
    found = drawn(WHOLE)
    assert "ingestion v3<br/>deadline 1h" in found.nodes["started"]
    assert found.after("started") == [found.named('"fetch"')]
    assert found.after(found.named('"pay')) == [found.named('"report')]
    assert found.after(found.named('"report')) == ["completed"]


def test_a_condition_leads_around_its_step() -> None:
    found = drawn(WHOLE)
    (question,) = found.after(found.named('"fetch"'))
    assert '"is_large"' in found.nodes[question]
    ways = {label: end for _, label, end in found.edges[question]}
    assert ways["yes"] == found.named('"shrink"')
    assert found.after(ways["yes"]) == [ways["no"]]


def test_what_runs_at_once_stands_in_one_box() -> None:
    found = drawn(WHOLE)
    (box,) = [name for name in found.boxes if name != "reactions"]
    assert [found.named('"store"'), found.named('"index<br/>if its condition"')] == found.boxes[box]
    assert found.after(box) == [found.named('"pay')]


def test_compensations_are_gone_through_in_reverse_order() -> None:
    found = drawn(WHOLE)
    forget_node, remove_node = found.named('"forget"'), found.named('"remove"')
    assert found.after(found.named('"store"'), "-.->") == [remove_node]
    assert found.after(remove_node, "-.->") == [forget_node]
    assert found.after(forget_node, "-.->") == ["compensated"]
    assert found.after(found.named('"report'), "-.->") == ["stuck"]


def test_the_pivot_and_what_only_goes_forward_say_so() -> None:
    found = drawn(WHOLE)
    assert found.nodes[found.named('"pay<br/>pivot"')].endswith(":::pivot")
    assert found.named('"report<br/>retriable"')


def test_a_wait_tells_its_event_and_for_how_long() -> None:
    saga = Saga("approval", data=Ingestion)
    saga = saga.wait("approved", Approved, correlate=lambda event: event.source, timeout="2d")
    found = drawn(saga)
    assert found.nodes[found.named("approved")].endswith('{{"approved<br/>waits for Approved, 2d"}}')


def test_reactions_stand_beside_it_and_text_of_users_is_no_markup() -> None:
    found = drawn(WHOLE)
    assert '>"Approved"]' in found.nodes["input0"]
    assert '>"timer over #quot;due#quot; #35;1 #lt;b#gt;"]' in found.nodes["input1"]
    assert found.after("input0") == ["reaction0"]
    assert found.after("reaction0") == ["started"]
    assert found.after("reaction1") == []


@pytest.mark.parametrize(
    "saga",
    [
        Saga("empty", data=Ingestion),
        Saga("events", data=Ingestion, reactions=[approved]),
        Saga("one", data=Ingestion).step("only", fetch),
        Saga("conditions", data=Ingestion).step("a", fetch, when=is_large).step("b", fetch, when=is_large),
    ],
    ids=lambda saga: saga.name,
)
def test_small_ones_are_drawn_too(saga: Any) -> None:
    assert "started" in drawn(saga).nodes
