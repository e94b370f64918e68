"""What the schedules of test_consumer_scripts.py are drawn from."""

from typing import Any

from hypothesis import strategies as st

from consumers.keys import effect_key
from consumers.state import Effect, Outgoing, RowState
from eventstore.keys import Keys

KEYS = Keys("es", 1)
STREAMS = ["order-1", "order-2", "läger-é", "x}:i:order-1", "$audit"]

draft_rows = st.dictionaries(
    st.sampled_from(STREAMS),
    st.tuples(
        st.sampled_from(["fits", "fits", "next", "any"]),
        st.integers(0, 5),
        st.sampled_from([RowState.CLEAN, RowState.CLEAN, *RowState]),
        st.integers(0, 8),
        st.sampled_from(["group", "none", "head", "some"]),
    ),
    max_size=3,
)
fields = st.sampled_from(["n", b"\xc3\xa9"])  # few, so that effects of one commit meet
words = st.sampled_from(["a", "b", "5", "-3", "07", "", "4611686018427387904", b"\xc3\xa9", 7, 1.5])
steps = st.sampled_from([1, -2, 2**53 + 1, 2**62, -(2**62)])
scores = st.sampled_from([1, -2.5, 0.1, 1e300, "no number"])
names = st.sampled_from(["one", "two"])


def _effect(command: str, *args: Any) -> st.SearchStrategy[Effect]:
    return st.builds(
        lambda name, given: Effect(command, effect_key(KEYS, "g", 0, name), given), names, st.tuples(*args)
    )


effects = st.one_of(
    _effect("HSET", fields, words),
    _effect("HINCRBY", fields, steps),
    _effect("HDEL", fields),
    _effect("SADD", words, words),
    _effect("SREM", words, words),
    _effect("ZADD", scores, words),
    _effect("ZINCRBY", scores, words),
    _effect("ZREM", words),
    _effect("SET", words),
    _effect("INCRBY", steps),
    _effect("RPUSH", words, words),
    _effect("DEL"),
)
returned = st.builds(
    Outgoing,
    partition=st.integers(0, 3),
    stream=st.sampled_from(STREAMS),
    packed=st.sampled_from([b"e" * 22, b"\x00\xff" * 60]),
    cause_recorded_at=st.sampled_from([1, 2**52]),
    letter=st.sampled_from(".NHC"),
)
moves = st.sampled_from(["stay", "on", "on", "on", "to the head", "back", "beyond", "other history"])
# The lease is taken before, if it is lost; or the newest token but so many is used as it is.
tokens = st.sampled_from(["fresh", "fresh", "fresh", "fresh", "fresh", "fresh", 0, 1, 2, "of another epoch"])
