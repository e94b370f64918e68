"""What a consumer group may be called."""

from consumers.keys import TIMERS
from eventstore.errors import InvalidRequest
from eventstore.names import plain_name


def group_name(name: str) -> str:
    """The name, if a new group may have it. Raises InvalidRequest."""
    if plain_name(name, "group") == TIMERS:
        raise InvalidRequest(
            f"the name {TIMERS} is taken: every worker fires scheduled events under it",
            field="group",
            remedy="choose another name",
        )
    return name
