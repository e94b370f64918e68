"""When a failed event is tried again: a policy goes from the number of attempts made to a pause, or gives up.

    policy.delay(attempts, random)   seconds until the next attempt; 0.0 at once; None: park the stream

`attempts` are the calls of the handler made so far, all of them, whatever they failed by; `random` is from [0, 1).
Pure: no clock, no state, so an event that waits goes on as it would have after a restart or in another process.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from consumers.checks import duration, fraction, number, refused, whole
from consumers.errors import InvalidConsumer

MOST_ATTEMPTS = 1_000_000
USUAL_IMMEDIATE = 3
SHORTEST_SECONDS = 0.001  # of a pause that is one: 0 means at once


class Immediate(Struct, frozen=True):
    """Tries again at once, `attempts` calls in all, and then parks."""

    attempts: int = 3

    def __post_init__(self) -> None:
        whole("attempts", self.attempts, 1, MOST_ATTEMPTS)

    def delay(self, attempts: int, random: float) -> float | None:
        return 0.0 if attempts < self.attempts else None


class Park(Struct, frozen=True):
    """Parks at the first failure: for errors that no repetition mends."""

    def delay(self, attempts: int, random: float) -> float | None:
        return None


class Delayed(Struct, frozen=True, kw_only=True):
    """What the policies with pauses share. `attempts` are the calls of the handler in all, after which the stream is
    parked; `immediate` of them, the first ones, are made at once (None: 3, or half of `attempts` if that is less); a
    pause is shortened by a random part of up to `jitter` (0 to 1) of it, so that what failed together is not tried
    together."""

    attempts: int = 8
    jitter: float = 0.1
    immediate: int | None = None

    def __post_init__(self) -> None:
        whole("attempts", self.attempts, 1, MOST_ATTEMPTS)
        fraction("jitter", self.jitter)
        if self.immediate is not None:
            remedy = f"Immediate(attempts={self.attempts}) makes all of them at once"
            whole("immediate", self.immediate, 1, max(self.attempts - 1, 1), remedy)

    @property
    def at_once(self) -> int:
        """How many of the first calls are made without a pause."""
        return max(min(USUAL_IMMEDIATE, self.attempts // 2), 1) if self.immediate is None else self.immediate

    def delay(self, attempts: int, random: float) -> float | None:
        if attempts >= self.attempts:
            return None
        if attempts < self.at_once:
            return 0.0
        return max(self._pause(attempts - self.at_once) * (1 - self.jitter * random), SHORTEST_SECONDS)

    def _pause(self, pauses: int) -> float:
        """Seconds, before jitter, after so many earlier pauses."""
        raise NotImplementedError


class Fixed(Delayed, frozen=True, kw_only=False):
    """Tries again `every` so often ("5s", or seconds), which must be given."""

    every: str | float = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every == "":
            raise InvalidConsumer("every is missing", field="every", remedy='Fixed("5s")')
        duration("every", self.every, shortest=SHORTEST_SECONDS)

    def _pause(self, pauses: int) -> float:
        return duration("every", self.every)


class Linear(Delayed, frozen=True, kw_only=False):
    """Pauses for `first`, and for `step` longer each time, never above `cap`."""

    first: str | float = "1s"
    step: str | float = "1s"
    cap: str | float = "5m"

    def __post_init__(self) -> None:
        super().__post_init__()
        first = duration("first", self.first, shortest=SHORTEST_SECONDS)
        duration("step", self.step)
        duration("cap", self.cap, shortest=first)

    def _pause(self, pauses: int) -> float:
        return min(duration("first", self.first) + duration("step", self.step) * pauses, duration("cap", self.cap))


class Exponential(Delayed, frozen=True, kw_only=False):
    """Pauses for `first`, and `factor` times as long each time, never above `cap`."""

    first: str | float = "1s"
    factor: float = 2.0
    cap: str | float = "5m"

    def __post_init__(self) -> None:
        super().__post_init__()
        first = duration("first", self.first, shortest=SHORTEST_SECONDS)
        if number("factor", self.factor) < 1:
            raise refused("factor", self.factor, "too little", "at least 1")
        duration("cap", self.cap, shortest=first)

    def _pause(self, pauses: int) -> float:
        cap = duration("cap", self.cap)
        try:
            return min(duration("first", self.first) * float(self.factor) ** pauses, cap)
        except OverflowError:  # of the power, which is above any cap
            return cap


Policy = Immediate | Fixed | Linear | Exponential | Park
DEFAULT = Exponential()
"""3 attempts at once, then after 1 s, 2 s, 4 s, 8 s and 16 s, less up to a tenth: 8 in all."""


class Rules(Struct, frozen=True):
    """The policy of a consumer, and those for certain exceptions."""

    usual: Policy = DEFAULT
    by_error: tuple[tuple[type[BaseException], Policy], ...] = ()

    def policy_for(self, error: BaseException) -> Policy:
        """That of the most specific class that was given: of the error's own, else of its nearest base."""
        given = dict(self.by_error)
        return next((given[kind] for kind in type(error).__mro__ if kind in given), self.usual)


def rules_of(retry: object, on: Mapping[type[Exception], Policy] | None) -> Rules:
    """What `retry=` and `on=` say. Raises InvalidConsumer."""
    return Rules(_policy("retry", retry), tuple(_by_error(on or {})))


def _policy(name: str, given: object) -> Policy:
    if isinstance(given, Policy):
        return given
    remedy = 'Immediate(3), Fixed("5s"), Linear("1s"), Exponential("1s") or Park()'
    raise InvalidConsumer(f"{name} is {given!r:.80}, no policy", field=name, remedy=remedy)


def _by_error(on: Mapping[type[Exception], Policy]) -> Iterator[tuple[type[Exception], Policy]]:
    if not isinstance(on, Mapping):
        raise InvalidConsumer("on is no mapping", field="on", remedy='on={CardDeclined: Fixed("5s")}')
    for kind, policy in on.items():
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise InvalidConsumer(f"on names {kind!r:.80}, no exception", field="on", remedy="the class of exceptions")
        yield kind, _policy(f"on[{kind.__name__}]", policy)
