"""The hash chain of the audit stream, without a server."""

import hashlib
import json
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from eventstore.audit import BEGINNING, AuditRecorded, BrokenLink, Chain, digest_of

TYPE = "eventstore.AuditRecorded"


def chain_of(*whats: str) -> list[AuditRecorded]:
    entries: list[AuditRecorded] = []
    for what in whats:
        previous = entries[-1].digest if entries else BEGINNING
        facts: dict[str, Any] = {"b": 1, "a": "ä", "size": 1.5}
        digest = digest_of(previous, "ada", what, None, facts)
        entries.append(AuditRecorded("ada", what, None, facts, previous, digest))
    return entries


def broken(entries: list[AuditRecorded]) -> list[BrokenLink]:
    chain = Chain()
    found = [chain.add(version, TYPE, entry) for version, entry in enumerate(entries, 1)]
    return [link for link in found if link is not None]


def test_the_digest_is_sha256_of_the_one_before_and_sorted_json() -> None:
    content = json.dumps(["ada", "pause", None, {"a": "ä", "b": 1}], separators=(",", ":"), ensure_ascii=False)
    assert content == '["ada","pause",null,{"a":"ä","b":1}]'
    expected = hashlib.sha256(bytes(32) + content.encode()).hexdigest()
    assert digest_of(BEGINNING, "ada", "pause", None, {"b": 1, "a": "ä"}) == expected


def test_a_whole_chain_has_no_broken_link() -> None:
    assert broken(chain_of("pause", "resume", "replay")) == []


def test_a_process_that_reads_dicts_follows_the_same_chain() -> None:
    chain = Chain()
    for version, entry in enumerate(chain_of("pause", "resume"), 1):
        assert chain.add(version, TYPE, to_builtins(entry)) is None


def test_a_changed_entry_breaks_at_its_place_only() -> None:
    entries = chain_of("pause", "resume", "replay")
    entries[1] = replace(entries[1], who="eve")
    assert [(link.version, link.detail.split(":")[0]) for link in broken(entries)] == [
        (2, "was changed after it was written")
    ]


def test_an_entry_taken_out_breaks_the_next_link() -> None:
    entries = chain_of("pause", "resume", "replay")
    del entries[0]
    assert [link.version for link in broken(entries)] == [1]


def test_an_entry_changed_with_its_digest_breaks_the_link_behind_it() -> None:
    entries = chain_of("pause", "resume", "replay")
    forged = digest_of(entries[1].previous, "eve", "resume", None, entries[1].facts)
    entries[1] = replace(entries[1], who="eve", digest=forged)
    assert [link.version for link in broken(entries)] == [3]


def test_what_is_no_audit_entry_breaks_the_chain() -> None:
    chain = Chain()
    (first,) = chain_of("pause")
    strange = chain.add(1, "OrderPlaced", {})
    not_hex = chain.add(2, TYPE, to_builtins(replace(first, digest="x" * 64)))
    assert strange is not None
    assert not_hex is not None
    assert "OrderPlaced" in strange.detail


def test_an_entry_whose_digests_are_none_is_a_broken_link_in_either_form() -> None:
    entry = replace(chain_of("pause")[0], previous="z" * 64, digest="z" * 64)
    for data in (entry, to_builtins(entry)):
        broken_link = Chain().add(1, TYPE, data)
        assert broken_link is not None
        assert "hex digits" in broken_link.detail
