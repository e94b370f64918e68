"""What consumer groups may be called, and what is built on them keeps for itself."""

import pytest
from msgspec import Struct

from consumers import consumer
from consumers.errors import InvalidConsumer, InvalidRequest
from consumers.group_name import group_name
from consumers.replay import Request, parse_target


class OrderPlaced(Struct):
    total: int


@pytest.mark.parametrize("beginning", ["saga", "projection"])
def test_names_of_groups_that_others_are_built_on_are_taken(beginning: str) -> None:
    name = f"{beginning}.orders.1"
    with pytest.raises(InvalidRequest, match=f"{beginning}s are run by groups whose names begin with {beginning}"):
        group_name(name)
    with pytest.raises(InvalidConsumer, match="is taken"):

        @consumer(name)
        async def take(event: OrderPlaced) -> None: ...

    assert group_name(name, reserved=True) == name
    assert group_name(f"{beginning}s") == f"{beginning}s"


def test_the_events_of_a_read_model_are_not_handled_again() -> None:
    with pytest.raises(InvalidRequest, match="whose rows have these events") as refused:
        Request("projection.order-totals.12", parse_target("earliest")).check()
    assert refused.value.remedy == "eventstore projections rebuild order-totals"
    Request("projections", parse_target("earliest")).check()
