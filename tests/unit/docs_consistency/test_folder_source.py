import os
from pathlib import Path

import pytest

from examples.docs_consistency.errors import BadInput, SourceError
from examples.docs_consistency.folder_source import FolderSource, blob_id
from examples.docs_consistency.open_source import open_source
from examples.docs_consistency.source import FileState

pytestmark = pytest.mark.anyio


def state(content: str, mode: str = "100644") -> FileState:
    return FileState(blob_id(content.encode()), mode)


def test_blobs_are_named_as_git_names_them() -> None:
    assert blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


async def test_a_folder_lists_files_links_and_modes(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "naïve café.md").write_text("a")
    (tmp_path / "run").write_text("b")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("docs")
    (tmp_path / os.fsdecode(b"\xe9.md")).write_text("c")
    os.mkfifo(tmp_path / "pipe")
    tree = await FolderSource(tmp_path).tree()
    assert tree.files == {
        "docs/naïve café.md": state("a"),
        "run": state("b", "100755"),
        "link": state("docs", "120000"),
        "/%E9.md": state("c"),
    }
    assert tree.commit is None


async def test_what_tools_keep_and_what_is_ours_is_left_out(tmp_path: Path) -> None:
    for name in (".git/config", "node_modules/x/README.md", "data/lock", "report.html", "a.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    source = FolderSource(tmp_path, frozenset({tmp_path / "data", tmp_path / "report.html"}))
    assert list((await source.tree()).files) == ["a.md"]


async def test_the_same_content_has_the_same_revision(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    first = await FolderSource(tmp_path).tree()
    assert (await FolderSource(tmp_path).tree()).id == first.id
    (tmp_path / "a.md").write_text("y")
    assert (await FolderSource(tmp_path).tree()).id != first.id


async def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    tree = await FolderSource(tmp_path).tree()
    (tmp_path / "a.md").write_text("y")
    async with FolderSource(tmp_path).contents() as contents:
        with pytest.raises(SourceError, match="changed while"):
            await contents.read("a.md", tree.files["a.md"].blob)


async def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(BadInput, match="is not a folder"):
            await open_source(path)


async def test_a_plain_folder_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no revisions"):
        await open_source(tmp_path, "v1.0")
