"""What became of one event: every handling ends in exactly one of these, or was interrupted and is none."""

from msgspec import Struct

from consumers.context import To
from consumers.failure import Failure
from consumers.state import Effect, Outgoing


class Succeeded(Struct, frozen=True):
    """The event is finished, with the commit that takes `out` and `effects` along. `returned` is what `out` has in
    packed form."""

    out: tuple[Outgoing, ...] = ()
    effects: tuple[Effect, ...] = ()
    returned: tuple[To, ...] = ()


class Failed(Struct, frozen=True):
    """The handler was called `calls` times and has failed by `failure` at last. It is due again after `delay_seconds`;
    None: the stream is parked. Of no call it says nothing about the world: the event does not decode, or this worker
    lacks something."""

    failure: Failure
    calls: int
    delay_seconds: float | None


Outcome = Succeeded | Failed
NOTHING = Succeeded()
"""Finished, and nothing follows: of most events, so it is made once."""
UNCALLED = Succeeded()
"""Finished without a call: another one than NOTHING, for it tells nothing of how the world is."""
