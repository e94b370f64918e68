"""DocConsistencySaga: what becomes of one source at one revision, as a saga. app.py starts one, and runs it with
`run(store, [DocConsistencySaga], ...)`; so does, of what was started, `eventstore work --app` with this module.

    ingest    appends the events of the source            taken back: events that bring the documents back
    store     lets rows and outlines follow to the end    taken back: told to those who read them
    analyse   judges all links, keeps what it found       taken back: forgets it
    report    writes the page                             taken back: removes it

A step may be called again, by another process too: each asks first what is done already. What is to be known later is
in the saga's data, or lies where the step before has put it; nothing is passed on in memory.

What another service may want to know is sent to the stream `source-<name>`.
"""

import time

from msgspec import Struct
from msgspec.structs import replace

from consumers import Exponential, Park, Resource, Saga, StepContext
from consumers.retry import Policy
from eventstore import DurabilityNotReached, OutcomeUnknown, Overloaded, Unavailable
from examples.docs_consistency.analyses import analysis_of
from examples.docs_consistency.as_of import as_of, since
from examples.docs_consistency.checks import check_links
from examples.docs_consistency.errors import BadInput, ReadModelDamaged
from examples.docs_consistency.events import SourceAnalysed, SourceReported, SourceStored, SourceWithdrawn
from examples.docs_consistency.ingest import bring_back, difference
from examples.docs_consistency.parse import outlines_of
from examples.docs_consistency.pipeline import Pipeline, opened_pipeline
from examples.docs_consistency.report import Report, page


class DocConsistency(Struct, frozen=True):
    """The first ones say what is to be done, the others are found on the way. `before` is how far the log went: to
    there the documents go back."""

    source: str
    name: str
    revision: str
    before: str
    begun_at: float
    revisions: int = 0
    events: int = 0
    is_rewritten: bool = False
    files: int = 0
    documents: int = 0
    links: int = 0
    findings: int = 0
    report: str = ""

    @property
    def stream(self) -> str:
        return f"source-{self.name}"


async def take_in(data: DocConsistency, pipeline: Pipeline) -> DocConsistency:
    source = await pipeline.source(data.source, data.revision)
    done = await pipeline.take_in(source)
    revisions, events = await since(pipeline.store, data.before)
    return replace(data, revisions=revisions, events=events, is_rewritten=done.rewritten)


async def take_back(data: DocConsistency, ctx: StepContext, pipeline: Pipeline) -> None:
    """Events stay: what they did is undone by others. It needs the log alone, for the source may be broken."""
    before = await as_of(pipeline.store, data.before)
    await pipeline.follow(None)
    await bring_back(pipeline.store, pipeline.rows.rows(), before, ctx.correlation_id or data.revision)
    await pipeline.follow(None)


async def keep(data: DocConsistency, ctx: StepContext, pipeline: Pipeline) -> DocConsistency:
    """Raises SourceError if the rows are not those of the revision."""
    source = await pipeline.source(data.source, data.revision)
    await pipeline.follow(source)
    tree = await source.tree()
    if wrong := difference(pipeline.rows.rows(), tree.files):
        raise pipeline.changed(source, len(wrong))
    ctx.send(data.stream, SourceStored(data.revision, len(tree.files)))
    return replace(data, files=len(tree.files))


async def withdraw(data: DocConsistency, ctx: StepContext) -> None:
    ctx.send(data.stream, SourceWithdrawn(data.revision, ctx.step))


async def analyse(data: DocConsistency, ctx: StepContext, pipeline: Pipeline) -> DocConsistency:
    source = await pipeline.source(data.source, data.revision)
    files = pipeline.rows.files()
    outlines = await outlines_of(source, pipeline.rows, files, pipeline.stop)
    await pipeline.rest_if_asked()
    checked = check_links(outlines, files)
    pipeline.analyses.keep(data.revision, checked)
    findings = len(checked.findings)
    ctx.send(data.stream, SourceAnalysed(data.revision, checked.documents, checked.links, findings))
    return replace(data, documents=checked.documents, links=checked.links, findings=findings)


async def forget(data: DocConsistency, ctx: StepContext, pipeline: Pipeline) -> None:
    pipeline.analyses.forget(data.revision)
    ctx.send(data.stream, SourceWithdrawn(data.revision, ctx.step))


async def publish(data: DocConsistency, ctx: StepContext, pipeline: Pipeline) -> DocConsistency:
    source = await pipeline.source(data.source, data.revision)
    checked = await analysis_of(source, pipeline.rows, pipeline.stop, data.revision)
    report = Report(
        source=source.title,
        commit=source.commit,
        part="",
        new_revisions=data.revisions,
        new_events=data.events,
        files=data.files,
        documents=checked.documents,
        links=checked.links,
        external=checked.external,
        findings=checked.findings,
        seconds=round(time.time() - data.begun_at, 3),
    )
    file = await pipeline.write_page(ctx.saga_id, page(report))
    ctx.send(data.stream, SourceReported(data.revision, str(file), data.findings))
    return replace(data, report=str(file))


async def remove(data: DocConsistency, ctx: StepContext, pipeline: Pipeline) -> None:
    await pipeline.remove_page(ctx.saga_id)
    ctx.send(data.stream, SourceWithdrawn(data.revision, ctx.step))


LONGEST = "12h"
"""For a history of a million commits: somebody looks at it, and may stop and go on."""
RETRY = Exponential(first="200ms", attempts=3)
"""git may be in the middle of something; a checkout that is broken stays so."""
UNDO = Exponential(first="200ms", attempts=5)
_PATIENCE = Exponential(first="500ms", cap="10s", attempts=100_000)
ON: dict[type[Exception], Policy] = {
    BadInput: Park(),
    ReadModelDamaged: Park(),
    **dict.fromkeys((Unavailable, OutcomeUnknown, Overloaded, DurabilityNotReached), _PATIENCE),
}
"""Nothing that trying again mends, and what is the server's fault."""

DocConsistencySaga = (
    Saga("docs", data=DocConsistency)
    .step("ingest", take_in, compensate=take_back, retry=RETRY, on=ON, retry_compensation=UNDO, timeout=LONGEST)
    .step("store", keep, compensate=withdraw, retry=RETRY, on=ON, retry_compensation=UNDO, timeout=LONGEST)
    .step("analyse", analyse, compensate=forget, retry=RETRY, on=ON, retry_compensation=UNDO, timeout="1h")
    .step("report", publish, compensate=remove, retry=RETRY, on=ON, retry_compensation=UNDO, timeout="1h")
)

# What steps ask for by type, where `eventstore work` runs them; app.py gives them what it has open.
the_pipeline = Resource(Pipeline, opened_pipeline)
