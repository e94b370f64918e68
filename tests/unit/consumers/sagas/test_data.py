"""The data of a saga, as its facts hold them."""

from math import inf, nan

import msgspec
import pytest
from msgspec import Struct, field

from consumers.sagas.actions import as_builtins, changes_of
from consumers.sagas.facts import StepSucceeded
from eventstore import InvalidEvent
from eventstore.event_types import EventTypes


class Measured(Struct, frozen=True, rename="camel"):
    how_much: float = 0.0
    by: str | None = None
    parts: dict[str, float] = field(default_factory=dict)


def test_fields_have_the_names_that_are_written_and_those_at_their_defaults_are_there() -> None:
    assert as_builtins(Measured(1.5)) == {"howMuch": 1.5, "by": None, "parts": {}}
    assert changes_of(Measured(2.5, by="me"), Measured(1.5), "measure") == {"howMuch": 2.5, "by": "me"}


@pytest.mark.parametrize("data", [Measured(nan), Measured(inf), Measured(parts={"left": nan})])
def test_a_number_that_is_none_is_refused_before_it_becomes_null(data: Measured) -> None:
    with pytest.raises(InvalidEvent, match="JSON cannot hold"):
        as_builtins(data)


def test_facts_are_written_alike_with_and_without_a_look_for_what_json_cannot_hold() -> None:
    fact = StepSucceeded("measure", 1, as_builtins(Measured(1.5)), 0.25)
    careful, trusting = EventTypes([StepSucceeded]), EventTypes()
    trusting.add_json(StepSucceeded)
    assert trusting.encode(fact) == careful.encode(fact) == ("saga.step_succeeded", 1, msgspec.json.encode(fact))
    with pytest.raises(InvalidEvent):  # what could not be read is refused all the same
        trusting.encode(StepSucceeded("measure", "one", {}, 0.25))  # type: ignore[arg-type]
