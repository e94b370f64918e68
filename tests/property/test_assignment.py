"""Partitions over members: balanced, by the fewest moves, and the same for everybody."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.assignment import assign

NAMES = [f"host-{number}-{number:06x}" for number in range(40)]
Owners = dict[int, str]


@st.composite
def groups(draw: st.DrawFn, partitions: int = 64, members: int = 12) -> tuple[int, list[str], Owners]:
    """Any state that a group can be in: leases of members, of members that have gone, and free partitions."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=members))
    number = draw(st.integers(1, partitions))
    some = names[: draw(st.integers(0, len(names)))]  # the others have just come, and hold nothing
    holders = draw(st.sampled_from([some or [""], [*some, "a member that has gone", ""]]))
    owners = draw(st.lists(st.sampled_from(holders), min_size=number, max_size=number))
    return number, names, dict(enumerate(owners))


def sizes(assigned: Mapping[int, str], members: Sequence[str]) -> list[int]:
    counts = Counter(assigned.values())
    return [counts[name] for name in members]


def moves(before: Mapping[int, str], after: Mapping[int, str], members: Sequence[str]) -> int:
    """Partitions that a living member has to give up."""
    return sum(before.get(p) in members and before[p] != name for p, name in after.items())


@given(groups())
def test_every_partition_has_a_living_member_and_none_has_two_more_than_another(
    group: tuple[int, list[str], Owners],
) -> None:
    partitions, members, owners = group
    assigned = assign(partitions, members, owners)
    assert list(assigned) == list(range(partitions))
    assert set(assigned.values()) <= set(members)
    counts = sizes(assigned, members)
    assert max(counts) - min(counts) <= 1


@settings(max_examples=60, deadline=None)
@given(groups(partitions=6, members=4))
def test_no_balanced_assignment_takes_fewer_partitions_away(group: tuple[int, list[str], Owners]) -> None:
    partitions, members, owners = group
    possible = (dict(enumerate(names)) for names in product(members, repeat=partitions))
    fewest = min(moves(owners, each, members) for each in possible if max(c := sizes(each, members)) - min(c) <= 1)
    assert moves(owners, assign(partitions, members, owners), members) == fewest


@given(groups())
def test_large_groups_move_no_more_than_the_sizes_demand(group: tuple[int, list[str], Owners]) -> None:
    partitions, members, owners = group
    share, extra = divmod(partitions, len(members))
    had = sorted((sum(owner == name for owner in owners.values()) for name in members), reverse=True)
    excess = [max(count - share - (i < extra), 0) for i, count in enumerate(had)]
    assert moves(owners, assign(partitions, members, owners), members) == sum(excess)


@given(groups(), st.randoms(use_true_random=False))
def test_every_member_comes_to_the_same_answer_in_whatever_order_it_sees_the_others(
    group: tuple[int, list[str], Owners], random: Random
) -> None:
    partitions, members, owners = group
    shuffled, seen = list(members), list(owners.items())
    random.shuffle(shuffled)
    random.shuffle(seen)
    assert assign(partitions, shuffled, dict(seen)) == assign(partitions, members, owners)


@given(groups())
def test_what_is_assigned_stays_as_it_is(group: tuple[int, list[str], Owners]) -> None:
    partitions, members, owners = group
    assigned = assign(partitions, members, owners)
    assert assign(partitions, members, assigned) == assigned


@given(groups(), st.data())
def test_a_change_that_is_half_done_goes_on_as_it_began(
    group: tuple[int, list[str], Owners], data: st.DataObject
) -> None:
    partitions, members, owners = group
    assigned = assign(partitions, members, owners)
    open_moves = [p for p, name in assigned.items() if owners.get(p) != name]
    some = st.sets(st.sampled_from(open_moves)) if open_moves else st.just(set[int]())
    done, released = data.draw(some), data.draw(some)
    between = owners | dict.fromkeys(released, "") | {p: assigned[p] for p in done}
    after = assign(partitions, members, between)
    assert {p for p, name in after.items() if between.get(p) != name} == {*open_moves} - done


@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=2, max_size=8))
def test_a_newcomer_moves_only_what_it_gets(names: list[str]) -> None:
    assigned = assign(16, names[:1], {})
    for number in range(2, len(names) + 1):
        before, assigned = assigned, assign(16, names[:number], assigned)
        moved = {p for p in assigned if assigned[p] != before[p]}
        assert moved == {p for p, name in assigned.items() if name == names[number - 1]}
        assert len(moved) == 16 // number


@given(groups())
def test_who_leaves_moves_only_what_it_had(group: tuple[int, list[str], Owners]) -> None:
    partitions, members, owners = group
    before = assign(partitions, members, owners)
    leaver, rest = members[0], members[1:]
    after = assign(partitions, rest, before)
    if rest:
        assert {p for p in after if after[p] != before[p]} == {p for p, name in before.items() if name == leaver}
    else:
        assert after == {}


def test_partitions_go_to_all_members_alike_and_otherwise_for_another_salt() -> None:
    members, first = NAMES[:8], Counter[str]()
    for salt in range(200):
        assigned = assign(9, members, {}, salt=str(salt))
        first[next(name for name in members if sizes(assigned, [name]) == [2])] += 1
    assert set(first) == set(members), "each of them has the one partition more in some group"
    assert max(first.values()) < 60
