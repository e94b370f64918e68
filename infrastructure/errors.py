"""The root of every error of ours, and the errors of settings and connections."""

from collections.abc import Mapping
from typing import ClassVar

_FINAL = {"authentication", "permission", "unsupported", "closed", "tls"}


class EventStoreError(Exception):
    """Root of the errors that callers catch.

    `code` is the same word on the command line, over HTTP and here. `field` names the input at fault, `remedy` says
    what to do next, which a traceback shows too, `facts` are the values a program may act on.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.remedy = remedy
        self.facts: dict[str, object] = dict(facts or {})
        if remedy is not None:
            self.add_note(f"remedy: {remedy}")


class SettingsError(EventStoreError):
    """A setting is wrong; names key, source, value (never a secret's) and what was expected."""

    code = "bad-request"


class Unavailable(EventStoreError):
    """The server cannot be used now. Nothing was written if `maybe_ran` is false.

    `reason` is one of: unreachable, timeout, authentication, permission, read-only, out-of-memory, disk, loading,
    busy, cluster, closed, no-replicas, unsupported, tls, dns.
    """

    code = "redis-unavailable"

    def __init__(self, detail: str, *, reason: str, maybe_ran: bool = False, remedy: str | None = None) -> None:
        super().__init__(detail, remedy=remedy, facts={"reason": reason})
        self.reason = reason
        self.maybe_ran = maybe_ran

    @property
    def is_final(self) -> bool:
        """Whether neither waiting nor trying again can help: somebody has to change something first."""
        return self.reason in _FINAL


def own_copy(error: EventStoreError) -> EventStoreError:
    """For each of several who waited for one call: they would add their tracebacks, and what they say more, to one
    error. `maybe_ran` is false: it tells of the call, whose other parts may have run."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    if (notes := getattr(error, "__notes__", None)) is not None:
        copy.__notes__ = [*notes]
    copy.__cause__ = error.__cause__
    if isinstance(copy, Unavailable):
        copy.maybe_ran = False
    return copy
