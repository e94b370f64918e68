"""The tree as a projection, without a server."""

from examples.docs_consistency.events import DocumentAdded, DocumentChanged, DocumentRemoved
from examples.docs_consistency.read_models import tree
from projections import given

STREAM = "document-a.md"


def test_a_file_has_the_row_of_its_last_change_and_none_once_it_is_removed() -> None:
    added = DocumentAdded("a.md", "1f", "100644", commit="c1")
    changed = DocumentChanged("a.md", "2e", "100755", commit="c2")
    given(added, stream=STREAM).project(tree).then(
        [{"path": "a.md", "blob": "1f", "mode": "100644", "commit_id": "c1"}]
    )
    given(added, changed, stream=STREAM).project(tree).then(
        [{"path": "a.md", "blob": "2e", "mode": "100755", "commit_id": "c2"}]
    )
    removed = DocumentRemoved("a.md", commit="c3")
    given(added, changed, removed, stream=STREAM).project(tree).then([])
