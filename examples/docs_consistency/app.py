"""One run: checkout > events > log > consumers > checks > report."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from eventstore import EventStore
from examples.docs_consistency.catch_up import catch_up
from examples.docs_consistency.checks import Checked, Outline, Outlines, check_links, is_markdown, outline_of
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.errors import BadInput
from examples.docs_consistency.events import TYPES
from examples.docs_consistency.home import FILE, claim, home_of
from examples.docs_consistency.ingest import Ingested, ingest
from examples.docs_consistency.open_source import Opened, open_source
from examples.docs_consistency.paths import raw_path
from examples.docs_consistency.progress import Progress
from examples.docs_consistency.report import Report, page, print_report
from examples.docs_consistency.source import FileState, Source
from examples.docs_consistency.stop import Stop, stop_on_signals
from infrastructure.settings import Settings, load_settings


class Options(Struct, frozen=True):
    """What the command line says."""

    path: Path
    data_dir: Path | None = None
    revision: str = "HEAD"
    html: Path | None = None
    json: bool = False
    all: bool = False
    tree: bool = False
    strict: bool = False
    adopt: bool = False


async def run(options: Options) -> int:
    """Does all of it; returns the exit code. Raises EventStoreError."""
    began = time.monotonic()
    async with stop_on_signals() as stop:
        settings, opened = await _prepare(options)
        data_dir = settings.eventstore.data_dir
        say(f"log in {data_dir}" if not settings.redis.configured else "log on the configured Redis")
        if changed := await opened.source.uncommitted():
            say(f"not committed: {_count(changed, 'changed file')}; what is checked is the commit")
        with Documents.open(data_dir / FILE) as documents:
            done = await _bring_up_to_date(settings, opened.source, documents, stop, options.adopt)
            code = None if stop.requested else await _report(options, opened, documents, done, stop, began)
        if code is not None:
            return code
    say("stopped; the same command goes on from here")
    return 130


def say(text: str) -> None:
    print(text, file=sys.stderr)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


async def _prepare(options: Options) -> tuple[Settings, Opened]:
    """The settings with the data directory of this checkout, and the checkout."""
    overrides = {"eventstore.data_dir": str(options.data_dir)} if options.data_dir else None
    settings = load_settings(overrides=overrides)
    base = settings.eventstore.data_dir
    without = [base, options.html] if options.html else [base]
    absolute = frozenset([Path(await anyio.Path(path).resolve()) for path in without])
    opened = await open_source(options.path, options.revision, absolute)
    home = home_of(opened.source.root, base, chosen=options.data_dir is not None)
    if home != base:
        settings = load_settings(overrides={"eventstore.data_dir": str(home)})
    return settings, opened


async def _bring_up_to_date(
    settings: Settings, source: Source, documents: Documents, stop: Stop, adopt: bool
) -> Ingested:
    """Ingests what is new and lets the consumers follow."""
    async with EventStore.open(types=TYPES, settings=settings) as store:
        began = time.monotonic()
        await catch_up(store, documents, source, stop)
        if stop.requested:
            return Ingested(0, 0, rewritten=False)
        rows = documents.rows()
        await claim(documents, source, rows, adopt=adopt)
        done = await ingest(store, source, rows, stop)
        if done.rewritten:
            say("the log's last commit is not in this history: the difference to the tree was appended")
        if done.events:
            what = f"{_count(done.revisions, 'revision')}, {_count(done.events, 'event')}"
            say(f"{what} in {time.monotonic() - began:.1f} s")
        await catch_up(store, documents, source, stop)
    return done


async def _report(
    options: Options, opened: Opened, documents: Documents, done: Ingested, stop: Stop, began: float
) -> int | None:
    """Checks and reports; the exit code, None if it was stopped."""
    files = documents.files()
    if options.tree:
        print_tree(files)
        return 0
    outlines = await _outlines(opened.source, documents, files, stop)
    if stop.requested:
        return None
    checked = check_links(outlines, files, opened.part)
    report = _made(opened, done, files, checked, time.monotonic() - began)
    if options.html:
        await _write(options.html, page(report))
    if options.json:
        print(msgspec.json.encode(report).decode())
    else:
        print_report(report, limit=None if options.all else 50)
    return 1 if options.strict and report.findings else 0


async def _write(file: Path, text: str) -> None:
    try:
        await anyio.Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}", field="--html", remedy="name another") from error
    say(f"report in {file}")


async def _outlines(
    source: Source, documents: Documents, files: Mapping[str, FileState], stop: Stop
) -> dict[str, Outline]:
    """The outline of every Markdown file. The consumer has all, unless it was at work for another revision."""
    kept = Outlines(documents)
    wanted = {path: state.blob for path, state in files.items() if is_markdown(path, state)}
    progress = Progress("parsing", "documents", len(wanted))
    found: dict[str, Outline] = {}
    async with source.contents() as contents:
        for path, blob in wanted.items():
            if stop.requested:
                break
            outline = kept.kept(blob)
            if outline is None:
                outline = outline_of(await contents.read(path, blob))
                kept.keep(blob, outline)
            found[path] = outline
            progress.advance()
    progress.close()
    return found


def _made(opened: Opened, done: Ingested, files: Mapping[str, FileState], checked: Checked, seconds: float) -> Report:
    return Report(
        source=opened.source.title,
        commit=opened.source.commit,
        part=opened.part,
        new_revisions=done.revisions,
        new_events=done.events,
        files=sum(path.startswith(opened.part) for path in files),
        documents=checked.documents,
        links=checked.links,
        external=checked.external,
        findings=checked.findings,
        seconds=round(seconds, 3),
    )


def print_tree(files: Mapping[str, FileState]) -> None:
    """The bytes of `git ls-tree -r -z`."""
    for path, state in sorted((raw_path(path), state) for path, state in files.items()):
        kind = "commit" if state.mode == "160000" else "blob"
        sys.stdout.buffer.write(f"{state.mode} {kind} {state.blob}\t".encode() + path + b"\0")
