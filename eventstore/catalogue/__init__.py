"""The catalogue of event types, and what a change of them means for what is stored."""

from eventstore.catalogue.catalogue import FORMAT, Catalogue, TypeEntry, describe, fields_of, from_text, to_text
from eventstore.catalogue.changes import Change, changes, taken_by
from eventstore.catalogue.difference import Difference
from eventstore.catalogue.rules import differences
from eventstore.catalogue.schemas import Schema, schema_of

__all__ = [
    "FORMAT",
    "Catalogue",
    "Change",
    "Difference",
    "Schema",
    "TypeEntry",
    "changes",
    "describe",
    "differences",
    "fields_of",
    "from_text",
    "schema_of",
    "taken_by",
    "to_text",
]
