"""The history of a Git checkout along its first parents, and the tree it leads to.

Folding the revisions of `history` gives exactly `git ls-tree -r` of the commit, at every commit on the way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
from anyio import DelimiterNotFound, EndOfStream, IncompleteRead
from anyio.abc import ByteSendStream
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct

from examples.docs_consistency.errors import BadInput, SourceError
from examples.docs_consistency.git import GitFailed, git_dialogue, git_output, run_git
from examples.docs_consistency.paths import path_text
from examples.docs_consistency.source import Contents, FileChange, FileState, History, Revision, Tree
from infrastructure.tasks import to_the_end

_ABSENT = "000000"
_LONGEST_HEADER = 200
# Each of these outdoes a setting of the user that would hide changes or put other text between them.
_LOG = (
    *("-c", "log.showRoot=true", "-c", "log.showSignature=false", "-c", "log.follow=false"),
    *("log", "-z", "--first-parent", "--diff-merges=first-parent", "--reverse", "--raw", "--no-abbrev"),
    *("--no-renames", "--no-relative", "--no-ext-diff", "--no-textconv", "--no-color", "--no-notes"),
    *("--ignore-submodules=none", "-O/dev/null", "--format=%H %ct %P"),
)


class GitSource(Struct, frozen=True):
    """A checkout (or a bare repository) at one commit, which stays the same while others commit."""

    root: Path
    commit: str
    committed_at: datetime | None

    @property
    def title(self) -> str:
        day = f" of {self.committed_at:%Y-%m-%d}" if self.committed_at else ""
        return f"{self.root} at commit {self.commit[:12]}{day}"

    @asynccontextmanager
    async def history(self, since: str | None) -> AsyncIterator[History | None]:
        if since is not None and not await self.knows([since]):
            yield None
            return
        wanted = [self.commit] if since is None else [self.commit, "--not", f"{since}^@"]
        total = int(await run_git(self.root, "rev-list", "--count", "--first-parent", *wanted, "--"))
        async with git_output(self.root, *_LOG, *wanted, "--") as output:
            revisions = _revisions(output)
            first = await anext(revisions, None)
            if since is not None and (first is None or first.commit != since):
                yield None
            else:
                yield History(total, _with_first(first, revisions))

    async def tree(self) -> Tree:
        listing = await run_git(self.root, "ls-tree", "-r", "-z", "--full-tree", self.commit, "--")
        files = {}
        for line in filter(None, listing.split(b"\0")):
            facts, _, path = line.partition(b"\t")
            mode, _, blob = facts.decode().split(" ")
            files[path_text(path)] = FileState(blob, mode)
        return Tree(self.commit, self.commit, self.committed_at, files)

    async def knows(self, commits: list[str]) -> bool:
        for commit in commits:
            try:
                await run_git(self.root, "cat-file", "-e", f"{commit}^{{commit}}")
            except GitFailed:
                continue
            return True
        return False

    async def uncommitted(self) -> int:
        try:
            head = await run_git(self.root, "rev-parse", "--verify", "HEAD")
            listing = await run_git(self.root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no")
        except GitFailed:  # a bare repository has no work tree
            return 0
        return listing.count(b"\0") if head.decode().strip() == self.commit else 0

    @asynccontextmanager
    async def contents(self) -> AsyncIterator[Contents]:
        async with git_dialogue(self.root, "cat-file", "--batch") as (questions, answers):
            yield _Blobs(questions, answers)


async def git_source(path: Path, revision: str) -> GitSource | None:
    """The checkout that a folder is the top of or has files in; None for a plain folder. A revision that does not
    exist is refused; a repository without any commit is read as a plain folder."""
    top = await _top(path)
    if top is None:
        return None
    try:
        found = await run_git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except GitFailed as error:
        if revision == "HEAD":
            return None
        raise BadInput(f"{top} has no revision {revision!r}", field="--rev", remedy="see git log") from error
    commit = found.decode().strip()
    if not await anyio.Path(path).samefile(top) and not await run_git(path, "ls-tree", "-z", commit, "--"):
        return None
    told = await run_git(top, "rev-list", "--no-walk", "--timestamp", commit, "--")  # `show` may want to read contents
    return GitSource(top, commit, _time(told.decode().split(" ")[0]))


async def _top(path: Path) -> Path | None:
    try:
        bare = await run_git(path, "rev-parse", "--is-bare-repository", "--absolute-git-dir")
        if bare.startswith(b"true\n"):
            return Path(bare.decode(errors="surrogateescape").split("\n", 1)[1].removesuffix("\n"))
        top = await run_git(path, "rev-parse", "--show-toplevel")
    except GitFailed as error:
        if "dubious ownership" in error.detail:
            raise
        return None
    return Path(top.decode(errors="surrogateescape").removesuffix("\n"))


async def _with_first(first: Revision | None, others: AsyncIterator[Revision]) -> AsyncIterator[Revision]:
    if first is not None:
        yield first
    async for revision in others:
        yield revision


async def _revisions(output: AsyncIterator[bytes]) -> AsyncIterator[Revision]:
    """Each commit is `hash time parents`, then for each change `:modes blobs status` and the path; all end with NUL."""
    header: str | None = None
    changes: list[FileChange] = []
    facts: bytes | None = None
    async for token in _tokens(output):
        if facts is not None:
            changes.append(_change(facts, token))
            facts = None
        elif (start := token.lstrip(b"\n")).startswith(b":"):
            facts = start
        elif start:
            if header is not None:
                yield _revision(header, changes)
            header, changes = start.decode(), []
    if header is not None:
        yield _revision(header, changes)


async def _tokens(output: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in output:
        *whole, rest = (rest + chunk).split(b"\0")
        for token in whole:
            yield token


def _change(facts: bytes, path: bytes) -> FileChange:
    _, mode, _, blob, _ = facts.decode().split(" ")
    return FileChange(path_text(path), None if mode == _ABSENT else FileState(blob, mode))


def _revision(header: str, changes: list[FileChange]) -> Revision:
    commit, seconds, *_ = header.split(" ")
    return Revision(commit, commit, _time(seconds), tuple(changes))


def _time(seconds: str) -> datetime | None:
    """Commits may carry any number for their time."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None


class _Blobs:
    def __init__(self, questions: ByteSendStream, answers: BufferedByteReceiveStream) -> None:
        self._questions, self._answers = questions, answers
        self._turn = anyio.Lock()

    async def read(self, path: str, blob: str) -> bytes:
        return await to_the_end(partial(self._read, path, blob))  # what is asked must be answered before the next one

    async def _read(self, path: str, blob: str) -> bytes:
        async with self._turn:
            return await self._ask(path, blob)

    async def _ask(self, path: str, blob: str) -> bytes:
        try:
            await self._questions.send(f"{blob}\n".encode())
            header = (await self._answers.receive_until(b"\n", _LONGEST_HEADER)).decode().split(" ")
            if len(header) != 3:
                raise SourceError(f"git has no content for {path!r} ({blob})", remedy="run git fsck in the checkout")
            content = await self._answers.receive_exactly(int(header[2]) + 1)
        except (EndOfStream, IncompleteRead, DelimiterNotFound, OSError) as error:
            raise SourceError(f"git cat-file ended at {path!r}", remedy="run git fsck in the checkout") from error
        return content[:-1]
