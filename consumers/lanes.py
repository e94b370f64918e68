"""The main pass of one partition: which events wait, which stream may go on, and how far everything is finished.

The events of one stream are a lane. Its head waits for its turn or is in somebody's hands, what follows waits behind
it; so they are handled one at a time in their order, and streams get their turns one after the other. A lane has the
class of the most urgent event in it (turns.py). Nothing here waits or talks to a server.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from consumers.deliveries import Delivery
from consumers.turns import CLASSES, NORMAL, Turns
from consumers.weights import Weights
from eventstore.envelope import Priority

_NORMAL = Priority.NORMAL


class Lanes:
    """Of the streams that are not detached."""

    def __init__(self) -> None:
        self._turns: Turns[Delivery] = Turns()
        self._following: dict[str, deque[Delivery] | None] = {}  # None: nothing yet, and no deque made for it
        self._unfinished: dict[int, str] = {}  # by position, in this order
        self._in_order = True
        self._counts: dict[str, list[int]] = {}  # events by class, of lanes that have others than NORMAL ones
        self.weights = Weights()

    def __len__(self) -> int:
        return len(self._unfinished)

    def __contains__(self, stream: str) -> bool:
        return stream in self._following

    @property
    def has_priorities(self) -> bool:
        """Whether any lane has an event of another class than NORMAL."""
        return bool(self._counts)

    @property
    def has_urgent(self) -> bool:
        """Whether a lane above NORMAL waits for its turn."""
        return self._turns.has_urgent

    def add(self, event: Delivery) -> None:
        """An event behind all others of its stream."""
        stream = event.stream
        if event.metadata.priority is not _NORMAL or (self._counts and stream in self._counts):
            self._count(stream, CLASSES[event.metadata.priority])
        self._unfinished[event.position] = stream
        if stream not in self._following:
            self._following[stream] = None
            self._turns.add(event, self._class_of(stream) if self._counts else NORMAL)
        elif (behind := self._following[stream]) is not None:
            behind.append(event)
        else:
            self._following[stream] = deque((event,))

    def weigh(self, sizes: Mapping[int, int]) -> None:
        """By position, of events of which some have been added."""
        for position, size in sizes.items():
            if position in self._unfinished:
                self.weights.add(position, size)

    def take(self) -> Delivery | None:
        """The head of the next lane, which stands still until it is finished, put back or taken out."""
        return self._turns.pop()

    def finish(self, event: Delivery) -> None:
        del self._unfinished[event.position]
        if self.weights.bytes:
            self.weights.drop(event.position)
        stream = event.stream
        behind = self._following[stream]
        if self._counts and (counts := self._counts.get(stream)):
            counts[CLASSES[event.metadata.priority]] -= 1
        if behind:
            self._turns.add(behind.popleft(), self._class_of(stream) if self._counts else NORMAL)
        else:
            del self._following[stream]
            if self._counts:
                self._counts.pop(stream, None)

    def put_back(self, event: Delivery) -> None:
        """A head that was not handled after all."""
        self._turns.add(event, self._class_of(event.stream))

    def boost(self, stream: str, of_class: int) -> None:
        """Something more urgent of this stream lies beyond what was read: until the lane is empty it counts as such."""
        self._count(stream, of_class)

    def take_out(self, stream: str, head: Delivery) -> list[tuple[Delivery, int]]:
        """All unfinished events of a stream, in order, the first of which is in somebody's hands, and what heavy ones
        weigh. They are no longer here."""
        behind = self._following.pop(stream) or deque()
        behind.appendleft(head)
        self._counts.pop(stream, None)
        for event in behind:
            del self._unfinished[event.position]
        return [(event, self.weights.drop(event.position)) for event in behind]

    def bring_back(self, events: Iterable[tuple[Delivery, int]], *, running: bool) -> None:
        """Events of a stream that has been away, the first of them in somebody's hands if `running`."""
        for place, (event, size) in enumerate(events):
            self.add(event)
            self.weights.add(event.position, size)
            if place == 0 and running:
                self._turns.remove(event)
            self._in_order = False

    def finished_up_to(self, read_up_to: int) -> int:
        """The highest position with nothing unfinished at or below it."""
        if not self._unfinished:
            return read_up_to
        if not self._in_order:
            self._unfinished = dict(sorted(self._unfinished.items()))
            self._in_order = True
        return next(iter(self._unfinished)) - 1

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
        if before is not None and of_class < before:
            head = next((event for event in self._turns if event.stream == stream), None)
            if head is not None:
                self._turns.remove(head)
                self._turns.add(head, of_class)
