"""The main pass of one partition: which events wait, which stream may go on, and how far everything is finished.

    ahead     as they were read, while each is finished before the next is taken: nothing can overtake anything
    lanes     of each stream its own, as soon as a second event is taken beside the first, or priorities choose

The events of one stream are a lane. Its head waits for its turn or is in somebody's hands, what follows waits behind
it; so they are handled one at a time in their order, and streams get their turns one after the other. A lane has the
class of the most urgent event in it (turns.py). Lanes cost half a microsecond an event, which is why events that are
handled one after the other get none. Nothing here waits or talks to a server.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from consumers.deliveries import Delivery
from consumers.turns import CLASSES, NORMAL, Turns
from consumers.weights import Weights
from eventstore.envelope import Priority

_NORMAL = Priority.NORMAL


class Ahead:
    """Events in the order in which they were read, and the one of them that is in somebody's hands. All have one
    priority, and while there are any no stream has a lane."""

    __slots__ = ("alone", "events", "priority")

    def __init__(self) -> None:
        self.alone: Delivery | None = None
        self.events: deque[Delivery] = deque()
        self.priority = _NORMAL

    def __len__(self) -> int:
        return len(self.events) + (self.alone is not None)


class Lanes:
    """Of the streams that are not detached."""

    def __init__(self) -> None:
        self.ahead = Ahead()
        self._turns: Turns[Delivery] = Turns()
        self._following: dict[str, deque[Delivery] | None] = {}  # None: nothing yet, and no deque made for it
        self._unfinished: dict[int, str] = {}  # by position, in this order
        self._in_order = True
        self._counts: dict[str, list[int]] = {}  # events by class, of lanes that have others than NORMAL ones
        self.weights = Weights()

    def __len__(self) -> int:
        return len(self._unfinished) + len(self.ahead)

    def __contains__(self, stream: str) -> bool:
        alone = self.ahead.alone
        if stream in self._following or (alone is not None and alone.stream == stream):
            return True
        return any(event.stream == stream for event in self.ahead.events)

    @property
    def has_priorities(self) -> bool:
        """Whether any lane has an event of another class than NORMAL."""
        return bool(self._counts) or (self.ahead.priority is not _NORMAL and len(self.ahead) > 0)

    @property
    def has_urgent(self) -> bool:
        """Whether a lane above NORMAL waits for its turn."""
        return self._turns.has_urgent or (self.ahead.priority.urgent and bool(self.ahead.events))

    def feed(self, events: Sequence[Delivery]) -> None:
        """What was read behind all others."""
        if not events:
            return
        if not self._following:
            ahead = self.ahead
            priority = ahead.priority if ahead else events[0].metadata.priority
            if not [1 for event in events if event.metadata.priority is not priority]:
                ahead.priority = priority
                ahead.events.extend(events)
                return
        self._lay_out()
        for event in events:
            self._add(event)

    def weigh(self, sizes: Mapping[int, int]) -> None:
        """By position, of events of which some have been fed."""
        self._lay_out()
        for position, size in sizes.items():
            if position in self._unfinished:
                self.weights.add(position, size)

    def take(self) -> Delivery | None:
        """The next event that may be handled; its lane then stands still until it is finished, put back or taken
        out."""
        ahead = self.ahead
        if ahead.events:
            if ahead.alone is None:
                ahead.alone = event = ahead.events.popleft()
                return event
            self._lay_out()
        return self._turns.pop()

    def finish(self, event: Delivery) -> None:
        if event is self.ahead.alone:
            self.ahead.alone = None
            return
        del self._unfinished[event.position]
        if self.weights.bytes:
            self.weights.drop(event.position)
        stream = event.stream
        behind = self._following[stream]
        if self._counts and (counts := self._counts.get(stream)):
            counts[CLASSES[event.metadata.priority]] -= 1
        if behind:
            self._turns.add(stream, behind.popleft(), self._class_of(stream) if self._counts else NORMAL)
        else:
            del self._following[stream]
            if self._counts:
                self._counts.pop(stream, None)

    def put_back(self, event: Delivery) -> None:
        """A head that was not handled after all."""
        self._lay_out()
        self._turns.add(event.stream, event, self._class_of(event.stream))

    def boost(self, stream: str, of_class: int) -> None:
        """Something more urgent of this stream lies beyond what was read: until the lane is empty it counts as such."""
        self._lay_out()
        self._count(stream, of_class)

    def take_out(self, stream: str, head: Delivery) -> list[tuple[Delivery, int]]:
        """All unfinished events of a stream, in order, the first of which is in somebody's hands, and what heavy ones
        weigh. They are no longer here."""
        self._lay_out()
        behind = self._following.pop(stream) or deque()
        behind.appendleft(head)
        self._counts.pop(stream, None)
        for event in behind:
            del self._unfinished[event.position]
        return [(event, self.weights.drop(event.position)) for event in behind]

    def bring_back(self, events: Iterable[tuple[Delivery, int]], *, running: bool) -> None:
        """Events of a stream that has been away, the first of them in somebody's hands if `running`."""
        self._lay_out()
        for place, (event, size) in enumerate(events):
            self._add(event)
            self.weights.add(event.position, size)
            if place == 0 and running:
                self._turns.remove(event.stream)
            self._in_order = False

    def finished_up_to(self, read_up_to: int) -> int:
        """The highest position with nothing unfinished at or below it."""
        if self.ahead.alone is not None:
            return self.ahead.alone.position - 1
        if self.ahead.events:
            return self.ahead.events[0].position - 1
        if not self._unfinished:
            return read_up_to
        if not self._in_order:
            self._unfinished = dict(sorted(self._unfinished.items()))
            self._in_order = True
        return next(iter(self._unfinished)) - 1

    def _lay_out(self) -> None:
        """What is ahead gets lanes."""
        ahead = self.ahead
        if ahead.alone is not None:
            self._add(ahead.alone)
            self._turns.remove(ahead.alone.stream)
        for event in ahead.events:
            self._add(event)
        ahead.alone = None
        ahead.events.clear()

    def _add(self, event: Delivery) -> None:
        stream = event.stream
        if event.metadata.priority is not _NORMAL or (self._counts and stream in self._counts):
            self._count(stream, CLASSES[event.metadata.priority])
        self._unfinished[event.position] = stream
        if stream not in self._following:
            self._following[stream] = None
            self._turns.add(stream, event, self._class_of(stream) if self._counts else NORMAL)
        elif (behind := self._following[stream]) is not None:
            behind.append(event)
        else:
            self._following[stream] = deque((event,))

    def _class_of(self, stream: str) -> int:
        counts = self._counts.get(stream)
        if counts is None:
            return NORMAL
        for of_class, count in enumerate(counts):
            if count:
                return of_class
        return NORMAL

    def _count(self, stream: str, of_class: int) -> None:
        """One more of a class; the head moves up if it waits and the lane is more urgent now."""
        before = self._class_of(stream) if stream in self._following else None
        counts = self._counts.get(stream)
        if counts is None:
            behind = self._following.get(stream, ())
            counts = self._counts[stream] = [0] * len(CLASSES)
            counts[NORMAL] = len(behind or ()) + (stream in self._following)
        counts[of_class] += 1
        if before is not None and of_class < before and (head := self._turns.remove(stream)) is not None:
            self._turns.add(stream, head, of_class)
