"""The history that is read from Git, against what Git says of every commit."""

import os
from pathlib import Path

import pytest

from examples.docs_consistency.errors import BadInput
from examples.docs_consistency.git_source import GitSource, git_source
from examples.docs_consistency.open_source import open_source
from examples.docs_consistency.paths import raw_path
from examples.docs_consistency.source import FileState, Revision, Source
from tests.support.checkouts import Checkout, eventful_checkout

pytestmark = pytest.mark.anyio


@pytest.fixture
def made(tmp_path: Path) -> Checkout:
    return eventful_checkout(tmp_path / "checkout")


async def source_of(made: Checkout, revision: str = "HEAD") -> GitSource:
    found = await git_source(made.folder, revision)
    assert found is not None
    return found


async def revisions(source: Source, since: str | None = None) -> list[Revision]:
    async with source.history(since) as history:
        assert history is not None
        found = [revision async for revision in history.revisions]
        assert history.total == len(found)
    return found


def as_tree(files: dict[str, FileState]) -> bytes:
    """The bytes of `git ls-tree -r -z`."""
    lines = sorted((raw_path(path), state) for path, state in files.items())
    kinds = {"160000": "commit"}
    return b"".join(
        f"{state.mode} {kinds.get(state.mode, 'blob')} {state.blob}\t".encode() + path + b"\0" for path, state in lines
    )


async def check_history(made: Checkout) -> None:
    files: dict[str, FileState] = {}
    seen = []
    for revision in await revisions(await source_of(made)):
        for change in revision.changes:
            if change.now is None:
                del files[change.path]
            else:
                files[change.path] = change.now
        assert as_tree(files) == made.tree(revision.id), revision.id
        seen.append(revision.id)
    assert seen == made.commits()


async def test_folding_the_history_gives_the_tree_of_every_commit(made: Checkout) -> None:
    await check_history(made)


async def test_no_setting_of_the_user_changes_what_is_read(made: Checkout) -> None:
    order = made.folder.parent / "order"
    order.write_text("*.png\n*.md\n")
    for setting in (
        "log.showRoot=false",
        "log.diffMerges=off",
        "log.follow=true",
        "log.showSignature=true",
        "log.decorate=full",
        "log.abbrevCommit=true",
        "diff.renames=copies",
        "diff.relative=true",
        "diff.ignoreSubmodules=all",
        "diff.noprefix=true",
        f"diff.orderFile={order}",
        "diff.external=false",
        "core.quotePath=true",
        "core.abbrev=4",
        "color.ui=always",
        "format.pretty=fuller",
    ):
        made.git("config", *setting.split("=", 1))
    await check_history(made)


async def test_the_git_of_a_hook_around_us_is_not_asked(made: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Checkout(made.folder.parent / "other")
    with monkeypatch.context() as around:
        around.setenv("GIT_DIR", str(other.folder / ".git"))
        around.setenv("GIT_INDEX_FILE", str(other.folder / "index"))
        source = await source_of(made)
        tree = await source.tree()
    assert as_tree(dict(tree.files)) == made.tree()


async def test_a_tree_is_that_of_git(made: Checkout) -> None:
    for revision in ("HEAD", "HEAD~3", made.commits()[0]):
        tree = await (await source_of(made, revision)).tree()
        assert as_tree(dict(tree.files)) == made.tree(revision)


async def test_history_goes_on_with_the_commit_last_seen(made: Checkout) -> None:
    commits = made.commits()
    for place, since in enumerate(commits):
        assert [found.id for found in await revisions(await source_of(made), since)] == commits[place:]


async def test_a_commit_that_is_no_first_parent_is_not_gone_on_from(made: Checkout) -> None:
    side = made.git("rev-parse", "side").decode().strip()
    for since in (side, "0" * 40):
        async with (await source_of(made)).history(since) as history:
            assert history is None
    async with (await source_of(made, "HEAD~2")).history(made.head()) as history:
        assert history is None


async def test_contents_are_read_by_blob(made: Checkout) -> None:
    source = await source_of(made)
    files = (await source.tree()).files
    async with source.contents() as contents:
        for path in ("README.md", "docs/naïve café.md", "README.md", "docs/new\nline\ttab.md", "/docs/latin-%E9.md"):
            blob = files[path].blob
            assert await contents.read(path, blob) == made.git("cat-file", "blob", blob)


async def test_a_bare_repository_a_work_tree_and_a_shallow_clone_are_read(made: Checkout) -> None:
    folder = made.folder.parent
    made.git("clone", "--quiet", "--bare", ".", str(folder / "bare"))
    made.git("worktree", "add", "--quiet", str(folder / "tree"), "HEAD~1")
    made.git("clone", "--quiet", "--depth", "2", made.folder.as_uri(), str(folder / "shallow"))
    for name, commit in (("bare", "HEAD"), ("tree", "HEAD~1"), ("shallow", "HEAD")):
        source = (await open_source(folder / name)).source
        files: dict[str, FileState] = {}
        for revision in await revisions(source):
            files = {p: s for p, s in files.items() if p not in {c.path for c in revision.changes}}
            files |= {change.path: change.now for change in revision.changes if change.now is not None}
        assert as_tree(files) == made.tree(commit), name


async def test_a_folder_of_a_checkout_is_a_part_of_the_whole(made: Checkout) -> None:
    opened = await open_source(made.folder / "docs")
    assert (opened.source.root, opened.part) == (made.folder, "docs/")
    assert (await open_source(made.folder)).part == ""
    link = made.folder.parent / "link"
    link.symlink_to(made.folder)
    assert (await open_source(link)).source.root == made.folder


async def test_a_folder_without_tracked_files_is_a_plain_folder(made: Checkout) -> None:
    made.write("untracked/x.md", "x")
    opened = await open_source(made.folder / "untracked")
    assert (opened.source.commit, opened.source.root) == (None, made.folder / "untracked")


async def test_a_repository_without_commits_is_a_plain_folder(tmp_path: Path) -> None:
    made = Checkout(tmp_path / "new")
    made.write("a.md", "x")
    tree = await (await open_source(made.folder)).source.tree()
    assert (list(tree.files), tree.commit) == (["a.md"], None)


async def test_a_revision_that_does_not_exist_is_refused(made: Checkout) -> None:
    for revision in ("gone", "--help", "HEAD^{tree}", "HEAD:README.md"):
        with pytest.raises(BadInput, match="has no revision"):
            await open_source(made.folder, revision)


async def test_what_is_not_committed_is_counted(made: Checkout) -> None:
    assert await (await source_of(made)).uncommitted() == 0
    made.write("README.md", "not yet")
    (made.folder / "main.md").unlink()
    made.write("untracked.md", "x")
    assert await (await source_of(made)).uncommitted() == 2
    assert await (await source_of(made, "HEAD~1")).uncommitted() == 0


async def test_nothing_in_the_checkout_is_touched(made: Checkout) -> None:
    before = {path: path.lstat().st_mtime_ns for path in made.folder.rglob("*")}
    await revisions(await source_of(made))
    await (await source_of(made)).tree()
    assert {path: path.lstat().st_mtime_ns for path in made.folder.rglob("*")} == before
    assert os.environ.get("GIT_DIR") is None
