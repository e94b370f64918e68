"""When memory is full if events go on coming as they do: what `eventstore doctor` forecasts. Pure.

    rate      events recorded in the last hour, and in the last day, each over that time, or over the log's age if this
              is shorter. A log younger than a minute has none.
    an event  what the server's data take, shared out among the events; at most twice what the event streams take, for
              the rest may be another program's
    room      maxmemory (the machine's memory where that is not set) less what is used
    full      room / (rate x bytes of an event); the sooner of the two rates counts

Below 7 days: WARN. Never FAIL: that would say that a start is refused.
"""

from collections.abc import Sequence

from msgspec import Struct

from eventstore.health_rules import Check, size_text

HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
YOUNGEST_SECONDS = 60
SOON_SECONDS = 7 * DAY_SECONDS
FAR_SECONDS = 100 * 365 * DAY_SECONDS
_UNITS = ((365 * DAY_SECONDS, "years"), (DAY_SECONDS, "days"), (HOUR_SECONDS, "hours"), (60, "minutes"))


class Growth(Struct, frozen=True):
    """One server and the partitions that lie on it. `stream_bytes` is None where that could not be asked."""

    address: str
    used: int
    maxmemory: int
    system: int
    dataset: int
    stream_bytes: int | None
    events: int
    last_hour: int
    last_day: int
    age_seconds: float

    @property
    def room(self) -> int:
        return max((self.maxmemory or self.system) - self.used, 0)

    @property
    def event_bytes(self) -> float:
        if not self.events:
            return 0.0
        shared = self.dataset / self.events
        return shared if self.stream_bytes is None else min(shared, 2 * self.stream_bytes / self.events)


class Rate(Struct, frozen=True):
    """Events a second, seen over the last so many seconds."""

    per_second: float
    seconds: float


def rates(growth: Growth) -> list[Rate]:
    """Over the last hour and the last day; one where the log is younger than an hour, none below a minute."""
    if growth.age_seconds < YOUNGEST_SECONDS:
        return []
    hour = Rate(growth.last_hour / min(HOUR_SECONDS, growth.age_seconds), min(HOUR_SECONDS, growth.age_seconds))
    if growth.age_seconds <= HOUR_SECONDS:
        return [hour]
    day = min(DAY_SECONDS, growth.age_seconds)
    return [hour, Rate(growth.last_day / day, day)]


def full_in_seconds(growth: Growth, rate: Rate) -> float:
    """Infinite where nothing comes, or no limit is known."""
    bytes_per_second = rate.per_second * growth.event_bytes
    if bytes_per_second <= 0 or not (growth.maxmemory or growth.system):
        return float("inf")
    return growth.room / bytes_per_second


def forecast(servers: Sequence[Growth]) -> Check:
    """The line of `doctor`, for the server that is full first. `servers` is empty where there is no log yet."""
    if not servers:
        return Check("growth", "ok", "no events yet")
    first = min(servers, key=_soonest)
    where = f"{first.address}: " if len(servers) > 1 else ""
    detail = f"{where}{_detail(first)}"
    if _soonest(first) >= SOON_SECONDS:
        return Check("growth", "ok", detail)
    if first.maxmemory:
        fix = f"CONFIG SET maxmemory {2 * first.maxmemory}, if the machine has as much"
    else:
        fix = "more memory for the machine, and CONFIG SET maxmemory"
    return Check("growth", "WARN", detail, fix)


def _soonest(growth: Growth) -> float:
    return min((full_in_seconds(growth, rate) for rate in rates(growth)), default=float("inf"))


def _detail(growth: Growth) -> str:
    found = rates(growth)
    if not found:
        return "the log is younger than a minute: too young for a forecast"
    limit = f"maxmemory {size_text(growth.maxmemory)}" if growth.maxmemory else f"{size_text(growth.system)} of memory"
    room = f"{size_text(growth.used)} of {limit} used, {growth.event_bytes:,.0f} B an event"
    if not any(rate.per_second for rate in found):
        return f"no events in the {_last(found[-1].seconds)}; {room}"
    ways = [f"{_full(growth, rate)} at {_speed(rate)} ({_last(rate.seconds)})" for rate in found if rate.per_second]
    return f"{', '.join(ways)}; {room}"


def _full(growth: Growth, rate: Rate) -> str:
    seconds = full_in_seconds(growth, rate)
    if seconds <= 0:
        return "full now"
    return "full in over 100 years" if seconds > FAR_SECONDS else f"full in {_time(seconds)}"


def _speed(rate: Rate) -> str:
    return f"{rate.per_second:,.0f} events/s" if rate.per_second >= 10 else f"{rate.per_second:.2g} events/s"


def _last(seconds: float) -> str:
    return f"last {_time(seconds).removeprefix('1 ')}"


def _time(seconds: float) -> str:
    """Whole units, rounded down: `12 days`, `1 hour`; below two of a unit the next smaller, but for one hour or day."""
    for size, unit in _UNITS:
        count = int(seconds // size)
        if count >= 2 or (count == 1 and seconds == size):
            return f"{count} {unit if count > 1 else unit[:-1]}"
    return f"{int(seconds)} seconds"
