"""Which events a reader wants. A filter is a scan: what it leaves out is read and passed over, not looked up."""

from collections.abc import Collection

from msgspec import Struct

from eventstore.arguments import may_be, not_empty
from eventstore.codec import Entry
from eventstore.envelope import RecordedEvent
from eventstore.errors import InvalidRequest
from eventstore.names import category_of


class Filter(Struct, frozen=True):
    """All that is given must hold. Any one of `types` and of `categories` (the stream's name up to the first hyphen)
    is enough; a type that the store knows matches under each name that it ever had. `since` and `until` are
    microseconds since 1970, both inclusive, compared with `recorded_at`; finite reads begin and end there instead of
    scanning the rest."""

    types: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    correlation_id: str | None = None
    since: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        for name in ("types", "categories"):
            given = getattr(self, name)
            several = isinstance(given, Collection) and not isinstance(given, str)
            if not several or not all(isinstance(item, str) for item in given):
                raise InvalidRequest(f"{name}={given!r} is no list of names", field=name, remedy='("A", "B")')
        may_be(str, "text, as in the metadata of the events", correlation_id=self.correlation_id)
        not_empty(types=tuple(self.types), categories=tuple(self.categories), correlation_id=self.correlation_id)
        for name in ("since", "until"):
            if getattr(self, name) is not None and type(getattr(self, name)) is not int:
                raise InvalidRequest(f"{name} is not a number of microseconds", field=name, remedy="a whole number")

    def matches(self, event: Entry | RecordedEvent) -> bool:
        return (
            (not self.types or event.type in self.types)
            and (not self.categories or category_of(event.stream) in self.categories)
            and (self.correlation_id is None or event.metadata.correlation_id == self.correlation_id)
            and (self.since is None or event.recorded_at >= self.since)
            and (self.until is None or event.recorded_at <= self.until)
        )
