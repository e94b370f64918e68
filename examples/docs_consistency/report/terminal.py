"""The report on a terminal: coloured by rich where that is installed, plain text elsewhere and in pipes.

Names come from strangers' files, so what could steer a terminal is shown, not sent.
"""

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TextIO

from examples.docs_consistency.checks import Finding
from examples.docs_consistency.report.summary import KINDS, Report

_Line = tuple[str, str]
"""A style (of rich) and a text."""


def print_report(report: Report, *, limit: int | None = 50, out: TextIO | None = None) -> None:
    """Prints the summary and up to `limit` findings (None: all), grouped by document."""
    out = out or sys.stdout
    write = _writer(out)
    for style, text in _lines(report, limit):
        write(style, _shown(text))


def _lines(report: Report, limit: int | None) -> Iterator[_Line]:
    left = len(report.findings) if limit is None else limit
    for path, findings in report.by_document:
        if left <= 0:
            break
        yield "bold", path
        for finding in findings[:left]:
            yield from _finding(finding)
        left -= len(findings)
        yield "", ""
    if left < 0 or (left == 0 and limit is not None and len(report.findings) > limit):
        hidden = len(report.findings) - (limit or 0)
        yield "dim", f"... and {hidden:,} more: --all shows them here, --html FILE in a page"
        yield "", ""
    yield from _summary(report)


def _finding(finding: Finding) -> Iterator[_Line]:
    yield "", f"  line {finding.line}: {finding.target}"
    yield "red", f"    {finding.kind}: {finding.message}"
    if finding.suggestion is not None:
        yield "green", f"    perhaps: {finding.suggestion}"


def _summary(report: Report) -> Iterator[_Line]:
    yield "bold", report.source + (f", only {report.part}" if report.part else "")
    yield "", f"  {report.new_events:,} new events; {report.files:,} files, {report.documents:,} of them Markdown"
    yield "", f"  {report.links:,} links, {report.external:,} of them external and not checked"
    for kind, count in report.by_kind.items():
        if count:
            yield "red", f"  {count:,} {KINDS[kind]}"
    yield ("bold red" if report.findings else "bold green"), f"{report.verdict} ({report.seconds:.1f} s)"


def _writer(out: TextIO) -> Callable[[str, str], None]:
    if not out.isatty() or find_spec("rich") is None:
        return lambda _style, text: print(text, file=out)
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False)
    return lambda style, text: console.print(Text(text, style=style), soft_wrap=True)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
