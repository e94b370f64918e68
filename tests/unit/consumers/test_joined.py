"""Joined effects come to the same as all of them, one after the other."""

from hypothesis import given
from hypothesis import strategies as st

from consumers.joined import joined
from consumers.state import Effect

_TWO = ("HSET", "HINCRBY")
_field = st.sampled_from(["a", "b", b"a", "1", 1])
_effects = st.lists(
    st.builds(
        lambda key, command, field, amount: Effect(command, key, (field, amount) if command in _TWO else (field,)),
        st.sampled_from(["h", "other"]),
        st.sampled_from(["HSET", "HINCRBY", "HDEL"]),
        _field,
        st.integers(-3, 3),
    ),
    max_size=12,
)


@given(_effects)
def test_they_come_to_the_same(effects: list[Effect]) -> None:
    assert _after(joined(effects)) == _after(effects)


def test_what_is_done_to_one_field_is_done_once() -> None:
    adds = [Effect("HINCRBY", "h", ("a", n)) for n in (1, 2, 3)]
    sets = [Effect("HSET", "h", ("b", n)) for n in (1, 2)]
    assert joined([adds[0], sets[0], adds[1], sets[1], adds[2]]) == [
        Effect("HINCRBY", "h", ("a", 6)),
        Effect("HSET", "h", ("b", 2)),
    ]


def test_a_sum_that_redis_would_not_take_is_left_apart() -> None:
    most = Effect("HINCRBY", "h", ("a", 2**63 - 1))
    assert joined([most, most]) == [most, most]


def _after(effects: list[Effect]) -> dict[tuple[str, bytes], int]:
    """What Redis would have."""
    found: dict[tuple[str, bytes], int] = {}
    for effect in effects:
        field = effect.args[0]
        place = effect.key, field if isinstance(field, bytes) else str(field).encode()
        if effect.command == "HDEL":
            found.pop(place, None)
        else:
            found[place] = effect.args[1] + (found.get(place, 0) if effect.command == "HINCRBY" else 0)
    return found
