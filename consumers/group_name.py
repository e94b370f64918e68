"""What a consumer group may be called."""

from consumers.keys import TIMERS
from eventstore.errors import InvalidRequest
from eventstore.names import plain_name

SAGAS = "saga."
"""How the names of the groups begin that sagas are run by."""


def group_name(name: str, *, of_saga: bool = False) -> str:
    """The name, if a new group may have it. Raises InvalidRequest."""
    if plain_name(name, "group") == TIMERS:
        raise InvalidRequest(
            f"the name {TIMERS} is taken: every worker fires scheduled events under it",
            field="group",
            remedy="choose another name",
        )
    if name.startswith(SAGAS) and not of_saga:
        raise InvalidRequest(
            f"the name {name} is taken: sagas are run by groups whose names begin with {SAGAS}",
            field="group",
            remedy="choose another name; a worker that runs the saga makes its groups itself",
        )
    return name
