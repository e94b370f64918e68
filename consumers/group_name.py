"""What a consumer group may be called."""

from consumers.keys import TIMERS
from eventstore.errors import InvalidRequest
from eventstore.names import plain_name

SAGAS = "saga."
"""How the names of the groups begin that sagas are run by."""
PROJECTIONS = "projection."
"""And of those that fill read models."""
_KINDS = {SAGAS: "saga", PROJECTIONS: "projection"}


def group_name(name: str, *, reserved: bool = False) -> str:
    """The name, if a new group may have it; `reserved` for what is built on groups. Raises InvalidRequest."""
    if plain_name(name, "group") == TIMERS:
        raise InvalidRequest(
            f"the name {TIMERS} is taken: every worker fires scheduled events under it",
            field="group",
            remedy="choose another name",
        )
    for beginning, kind in _KINDS.items():
        if name.startswith(beginning) and not reserved:
            raise InvalidRequest(
                f"the name {name} is taken: {kind}s are run by groups whose names begin with {beginning}",
                field="group",
                remedy=f"choose another name; a worker that runs the {kind} makes its groups itself",
            )
    return name


def refuse_of_projection(group: str) -> None:
    """Its rows have been changed by the events that are behind it: handled again, they would change them again. Raises
    InvalidRequest."""
    if group.startswith(PROJECTIONS):
        name = group[len(PROJECTIONS) :].rpartition(".")[0]
        raise InvalidRequest(
            f"{group} fills a read model, whose rows have these events already",
            field="group",
            remedy=f"eventstore projections rebuild {name}",
        )
