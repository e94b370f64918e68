"""The outline of every document of a source."""

from collections.abc import Mapping

from examples.docs_consistency.checks import Outline, Outlines, is_markdown, outline_of
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.progress import Progress
from examples.docs_consistency.source import FileState, Source
from examples.docs_consistency.stop import Stop


async def outlines_of(
    source: Source, rows: Documents, files: Mapping[str, FileState], stop: Stop
) -> dict[str, Outline]:
    """Of every Markdown file, by path; not of all, if the user asked to stop. The consumer has all, unless it was at
    work for another revision. Raises SourceError."""
    kept = Outlines(rows)
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
