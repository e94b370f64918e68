"""From the types of one release to those of the next, and the file that keeps them."""

import json
from typing import Any

import pytest
from msgspec import Struct, defstruct

from eventstore.catalogue import Catalogue, changes, describe, from_text, taken_by, to_text
from eventstore.errors import InvalidRequest
from eventstore.event_types import EventTypes, event


def release(**types: dict[str, Any]) -> EventTypes:
    """Types by name: `fields`, and what `@event` takes."""
    structs = []
    for name, options in types.items():
        fields = options.get("fields", {"a": int})
        struct = defstruct(name, list(fields.items()))
        structs.append(event(name=name, **{k: v for k, v in options.items() if k != "fields"})(struct))
    return EventTypes(structs)


def found(old: EventTypes, new: EventTypes) -> list[tuple[str, str | None, str, bool]]:
    seen = changes(describe(old), describe(new), taken_by(new))
    assert all(each.remedy for each in seen if each.breaking)
    return [(each.type, each.field, each.rule, each.breaking) for each in seen]


def up(old: Any) -> Any:
    return old


class OldA(Struct):
    a: int


class OldB(Struct):
    b: int


def from_a(old: OldA) -> dict[str, int]:
    return {"b": old.a}


def from_b(old: OldB) -> dict[str, int]:
    return {"b": old.b}


A = {"fields": {"a": int}}
B: dict[str, Any] = {"fields": {"b": int}, "version": 2, "upcasters": {1: up}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (release(T=A), release(T=A), []),
        (release(T=A), release(T=A, U=A), [("U", None, "type-added", False)]),
        (release(T=A), release(), [("T", None, "type-removed", True)]),
        (release(T=A), release(T={"fields": {"a": str}}), [("T", "a", "type-changed", True)]),
        (release(T=A), release(T=B), [("T", None, "version-raised", False)]),
        (release(T=B), release(T={"fields": {"b": int}}), [("T", None, "version-lowered", True)]),
        (release(T=A), release(T={**B, "upcasters": {}, "oldest": 2}), [("T", None, "upcaster-removed", True)]),
        (release(T=B), release(T={**B, "upcasters": {}, "oldest": 2}), [("T", None, "upcaster-removed", True)]),
        (release(T=A), release(T={**B, "upcasters": {1: from_a}}), [("T", None, "version-raised", False)]),
        (
            release(T=A),
            release(T={**B, "upcasters": {1: from_b}}),
            [
                ("T", "a", "upcaster-misfit", True),
                ("T", "b", "upcaster-misfit", True),
                ("T", None, "version-raised", False),
            ],
        ),
        (release(T=A), release(U={**A, "formerly": ("T",)}), [("U", None, "type-renamed", False)]),
        (
            release(T=A),
            release(U={"fields": {"a": str}, "formerly": ("T",)}),
            [("U", "a", "type-changed", True), ("U", None, "type-renamed", False)],
        ),
        (release(U={**A, "formerly": ("T",)}), release(U=A), [("U", None, "former-name-removed", True)]),
        (release(U={**A, "formerly": ("T",)}), release(U=A, T=A), [("U", None, "former-name-removed", True)]),
        (
            release(U={**A, "formerly": ("T",)}),
            release(V={**A, "formerly": ("T",)}),
            [("U", None, "type-removed", True)],
        ),
        (
            release(U={**A, "formerly": ("T",)}),
            release(V={**A, "formerly": ("U", "T")}),
            [("V", None, "type-renamed", False)],
        ),
    ],
)
def test_what_a_release_changes(
    old: EventTypes, new: EventTypes, expected: list[tuple[str, str | None, str, bool]]
) -> None:
    assert found(old, new) == expected


def test_the_remedy_is_the_code_to_write() -> None:
    old = release(T={"fields": {"a": int}, "version": 2, "upcasters": {1: up}})
    new = release(T={"fields": {"a": int, "b": int}, "version": 2, "upcasters": {1: up}})
    (only,) = changes(describe(old), describe(new))
    assert (
        only.remedy == "give it a default, or raise the version: @event(version=3, upcasters={..., 2: from_old_data})"
    )


def test_a_catalogue_survives_its_file() -> None:
    types = release(T=B, U={"fields": {"é": str}, "formerly": ("V",)})
    catalogue = describe(types)
    text = to_text(catalogue)
    assert from_text(text.encode(), "types.json") == catalogue
    assert text.endswith("}\n")
    assert "é" in text
    assert [each.name for each in catalogue.types] == ["T", "U"]


def damaged(change: Any) -> bytes:
    value = json.loads(to_text(describe(release(T=B, U=A))))
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"catalogue": 1}',
        b"<<<<<<< HEAD",
        damaged(lambda v: v.update(catalogue=2)),
        damaged(lambda v: v["types"][0].update(name="U")),
        damaged(lambda v: v["types"][0].update(oldest=3)),
        damaged(lambda v: v["types"][0]["schema"].pop("$ref")),
        damaged(lambda v: v["types"][0]["schema"].update({"$ref": "#/$defs/Gone"})),
        damaged(lambda v: v["types"][0]["schema"]["$defs"].update(T={"$ref": "#/$defs/T"})),
        damaged(lambda v: v["types"][0]["schema"]["$defs"]["T"].pop("required")),
        damaged(lambda v: v["types"][0]["schema"]["$defs"]["T"].update(required=7)),
        damaged(lambda v: v["types"][0]["schema"]["$defs"]["T"]["properties"].update(b=[])),
        damaged(lambda v: v["types"][0]["schema"]["$defs"]["T"]["properties"].update(b={"type": "array"})),
        damaged(lambda v: v["types"][0]["schema"]["$defs"]["T"]["properties"].update(b={"type": "object"})),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused_with_the_remedy(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"types\.json is no catalogue of event types: ") as caught:
        from_text(text, "types.json")
    assert caught.value.remedy is not None
    assert "eventstore types write" in caught.value.remedy


def test_a_catalogue_of_no_types_is_one() -> None:
    assert from_text(to_text(describe(EventTypes())).encode(), "types.json") == Catalogue(1, ())
