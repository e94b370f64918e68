"""The tree of the checkout as a projection: a row for each file that is there.

    eventstore work --app examples.docs_consistency.read_models
    eventstore projections at tree --app examples.docs_consistency.read_models --as-of -7d --out then.sqlite

A row depends on the stream of its path alone, so partitions may be taken side by side; and as of the last event of a
commit the rows are that commit's tree, for what the next commit did was recorded later.
"""

from sqlalchemy import Column, MetaData, Table, Text

from examples.docs_consistency.events import CATEGORY, DocumentAdded, DocumentChanged, DocumentRemoved
from projections import Rows, projection, sql

files = Table(
    "files",
    MetaData(),
    Column("path", Text, primary_key=True),
    Column("blob", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("commit_id", Text, nullable=True),
)


@projection("tree", sink=sql(files), categories=[CATEGORY])
def tree(event: DocumentAdded | DocumentChanged, rows: Rows) -> None:
    rows.put(files, path=event.path, blob=event.blob, mode=event.mode, commit_id=event.commit)


@tree.also
def removed(event: DocumentRemoved, rows: Rows) -> None:
    rows.remove(files, path=event.path)
