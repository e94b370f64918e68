"""The main pass of one partition: which events wait, which stream may go on, and how far everything is finished.

The events of one stream are a lane. Its head is in the queue or in somebody's hands, what follows waits behind it; so
they are handled one at a time in their order, and streams get their turns one after the other. Nothing here waits or
talks to a server.
"""

from collections import deque
from collections.abc import Iterable

from consumers.deliveries import Delivery


class Lanes:
    """Of the streams that are not detached."""

    def __init__(self) -> None:
        self.queue: deque[Delivery] = deque()
        self._following: dict[str, deque[Delivery] | None] = {}  # None: nothing yet, and no deque made for it
        self._unfinished: dict[int, str] = {}  # by position, in this order
        self._in_order = True

    def __len__(self) -> int:
        return len(self._unfinished)

    def add(self, event: Delivery) -> None:
        """An event behind all others of its stream."""
        stream = event.stream
        self._unfinished[event.position] = stream
        if stream not in self._following:
            self._following[stream] = None
            self.queue.append(event)
        elif (behind := self._following[stream]) is not None:
            behind.append(event)
        else:
            self._following[stream] = deque((event,))

    def take(self) -> Delivery | None:
        """The head of the next lane, which stands still until it is finished, put back or taken out."""
        while self.queue:
            event = self.queue.popleft()
            if event.position in self._unfinished:  # its stream may have been taken out meanwhile
                return event
        return None

    def finish(self, event: Delivery) -> None:
        del self._unfinished[event.position]
        stream = event.stream
        behind = self._following[stream]
        if behind:
            self.queue.append(behind.popleft())
        else:
            del self._following[stream]

    def put_back(self, event: Delivery) -> None:
        """A head that was not handled after all."""
        self.queue.append(event)

    def take_out(self, stream: str, head: Delivery | None) -> deque[Delivery]:
        """All unfinished events of a stream, in order; `head` if it is in somebody's hands. They are no longer here."""
        if stream not in self._following:
            return deque()
        behind = self._following.pop(stream) or deque()
        first = head or next((event for event in self.queue if event.stream == stream), None)
        if first is not None:
            behind.appendleft(first)
        for event in behind:
            del self._unfinished[event.position]
        return behind

    def bring_back(self, events: Iterable[Delivery], *, running: bool) -> None:
        """Events of a stream that has been away, the first of them in somebody's hands if `running`."""
        for place, event in enumerate(events):
            if place == 0 and running:
                self._following[event.stream] = None
                self._unfinished[event.position] = event.stream
            else:
                self.add(event)
            self._in_order = False

    def finished_up_to(self, read_up_to: int) -> int:
        """The highest position with nothing unfinished at or below it."""
        if not self._unfinished:
            return read_up_to
        if not self._in_order:
            self._unfinished = dict(sorted(self._unfinished.items()))
            self._in_order = True
        return next(iter(self._unfinished)) - 1
