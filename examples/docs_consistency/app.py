"""One run: a checkout is seen through its saga (saga.py), then reported on."""

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from consumers.sagas.state import State
from eventstore import EventStore
from examples.docs_consistency.analyses import analysis_of
from examples.docs_consistency.catch_up import catch_up
from examples.docs_consistency.checks import Checked
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.errors import BadInput, Stuck, TakenBack
from examples.docs_consistency.events import TYPES
from examples.docs_consistency.home import FILE, claim, home_of
from examples.docs_consistency.open_source import Opened, open_source
from examples.docs_consistency.paths import raw_path
from examples.docs_consistency.pipeline import Pipeline
from examples.docs_consistency.report import Report, page, print_report
from examples.docs_consistency.saga import DocConsistency
from examples.docs_consistency.see_through import has_ended, see_through
from examples.docs_consistency.source import FileState, Source
from examples.docs_consistency.stop import Stop, stop_on_signals
from examples.docs_consistency.timeline import count, timeline
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
            say(f"not committed: {count(changed, 'changed file')}; what is checked is the commit")
        with Documents.open(data_dir / FILE) as documents:
            done = await _bring_up_to_date(settings, opened.source, documents, stop, options.adopt)
            code = None if done is None else await _report(options, opened, documents, done, stop, began)
        if code is not None:
            return code
    say("stopped; the same command goes on from here")
    return 130


def say(text: str) -> None:
    print(text, file=sys.stderr)


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
) -> DocConsistency | None:
    """Sees the source through its saga. What was done now; None if it was stopped. Raises TakenBack, Stuck."""
    async with EventStore.open(types=TYPES, settings=settings) as store:
        pipeline = Pipeline(store, documents, settings.eventstore.data_dir, stop)
        await catch_up(store, documents, source, stop)
        if stop.requested:
            return None
        await claim(documents, source, documents.rows(), adopt=adopt)
        state, is_new = await see_through(pipeline, source)
        if not has_ended(state):
            return None
        if is_new:
            await catch_up(store, documents, source, stop)
    _tell(state, settings, is_new=is_new)
    if state.status == "stuck":
        raise Stuck(state.why, remedy=f"mend it, then: eventstore sagas retry {state.stream}, and run again")
    if state.status == "compensated":
        raise TakenBack(state.why, remedy="mend the source, and run again")
    data = msgspec.convert(state.data, DocConsistency)
    return data if is_new else replace(data, revisions=0, events=0)


def _tell(state: State, settings: Settings, *, is_new: bool) -> None:
    if state.data.get("is_rewritten") and is_new:
        say("the log's last commit is not in this history: the difference to the tree was appended")
    if not is_new and state.status == "completed":
        say(f"{state.stream} has completed before: nothing is new")
    else:
        say("\n".join(timeline(state)))
        say(f"more of it: {_where(settings)}eventstore sagas show {state.stream}")


def _where(settings: Settings) -> str:
    """What a command needs to find this log."""
    home = settings.eventstore.data_dir
    return "" if home == load_settings().eventstore.data_dir else f"EVENTSTORE_DATA_DIR={shlex.quote(str(home))} "


async def _report(
    options: Options, opened: Opened, documents: Documents, done: DocConsistency, stop: Stop, began: float
) -> int | None:
    """Checks and reports; the exit code, None if it was stopped."""
    files = documents.files()
    if options.tree:
        print_tree(files)
        return 0
    checked = await analysis_of(opened.source, documents, stop, done.revision, opened.part)
    if stop.requested:
        return None
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


def _made(
    opened: Opened, done: DocConsistency, files: Mapping[str, FileState], checked: Checked, seconds: float
) -> Report:
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
