"""Which names are possible, and where a name leads."""

from bisect import bisect
from collections import Counter
from itertools import count
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from eventstore.errors import InvalidRequest
from eventstore.keys import Keys
from eventstore.names import category_of, plain_name, publishable, stream_name
from eventstore.partitions import SLOTS, hash_tags, partition_of, slot_of


@pytest.mark.parametrize("name", ["a", "document-docs/naïve café.md", "x" * 512, "{a}-1", "order-42", "日本"])
def test_a_stream_may_be_called(name: Any) -> None:
    assert stream_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 513, "é" * 257, "a\nb", "a\x00", "a\x7f", "a\x85b", "\ud800", 7, None])
def test_a_stream_may_not_be_called(name: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        stream_name(name)
    assert caught.value.field == "stream"


def test_a_publisher_may_not_write_to_system_streams() -> None:
    with pytest.raises(InvalidRequest, match="system stream"):
        publishable("$audit")


def test_a_category_is_the_name_up_to_the_first_hyphen() -> None:
    assert [category_of(n) for n in ("order-42", "order", "document-a-b", "-x")] == ["order", "order", "document", ""]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "a:b"])
def test_a_group_may_not_be_called(name: Any) -> None:
    with pytest.raises(InvalidRequest):
        plain_name(name, "group")


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_text_in_braces_decides_the_partition(text: str) -> None:
    tag = "".join(c for c in text if c not in "{}") or "x"
    assert partition_of(f"saga-{{{tag}}}-pay", 16) == partition_of(f"x-{{{tag}}}", 16) == partition_of(tag, 16)


def test_a_partition_never_changes_between_releases() -> None:
    names = ["order-42", "document-docs/naïve café.md", "saga-{order-42}-pay", "{}-a", "{a"]
    assert [partition_of(name, 16) for name in names] == [14, 15, 14, 3, 12]


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 16, 64])
def test_partitions_spread_evenly_over_the_slots(partitions: int) -> None:
    for partition, tag in enumerate(hash_tags(partitions)):
        assert partition * SLOTS // partitions <= slot_of(tag) < (partition + 1) * SLOTS // partitions


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 16, 64, 300])
def test_the_tag_of_a_partition_has_the_smallest_number_that_leads_to_its_slots(partitions: int) -> None:
    for partition, tag in enumerate(hash_tags(partitions)):
        low, high = partition * SLOTS // partitions, (partition + 1) * SLOTS // partitions
        assert tag == next(t for k in count() if low <= slot_of(t := f"log.{partition}.{k}") < high)


@pytest.mark.parametrize("nodes", [2, 3, 5, 6, 12, 17])
@pytest.mark.parametrize("partitions", [6, 12, 16, 64, 1_024])
def test_the_fullest_node_has_one_partition_more_at_most_than_it_must_have(partitions: int, nodes: int) -> None:
    borders = [SLOTS * node // nodes for node in range(nodes)]
    held = Counter(bisect(borders, slot_of(tag)) for tag in hash_tags(partitions))
    assert max(held.values()) <= ceil(partitions / nodes) + 1


@given(st.text(st.characters(codec="utf-8", categories=["L", "N"], include_characters="{}:-"), min_size=1))
def test_all_keys_of_a_partition_lie_in_one_slot(stream: str) -> None:
    keys = Keys("es", 16)
    some = (keys.index(5, stream), keys.snapshot(5, stream), keys.head(5), keys.events(5), *keys.duplicates(5))
    slots = {key_slot(key.encode()) for key in some}
    assert slots == {slot_of(hash_tags(16)[5])}
    assert keys.stream_of(keys.index(5, stream)) == stream
