"""The report as one HTML page that needs nothing else: no script, no request, light and dark.

The page is built as a tree and written by the standard library's serializer, which escapes every text.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement, tostring

from examples.docs_consistency.checks import Finding
from examples.docs_consistency.report.style import STYLE
from examples.docs_consistency.report.summary import KINDS, Report

_NO_REQUESTS = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> str:
    """The whole page."""
    html = Element("html", lang="en")
    _head(html, report)
    body = SubElement(html, "body")
    _header(SubElement(body, "header"), report)
    main = SubElement(body, "main")
    if not report.findings:
        _text(main, "p", f"All {report.links - report.external:,} links inside the checkout lead somewhere.", "fine")
    elif len(report.by_document) > 1:
        _contents(SubElement(main, "nav"), report)
    for number, (path, findings) in enumerate(report.by_document):
        _document(SubElement(main, "section", id=f"d{number}"), path, findings)
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def _head(html: Element, report: Report) -> None:
    head = SubElement(html, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _NO_REQUESTS})
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    SubElement(head, "meta", name="color-scheme", content="light dark")
    SubElement(head, "title").text = _safe(f"{report.verdict} {report.source}")
    SubElement(head, "style").text = STYLE


def _header(header: Element, report: Report) -> None:
    _text(header, "h1", "Documentation consistency")
    _text(header, "p", report.source + (f", only {report.part}" if report.part else ""), "source")
    _text(header, "p", report.verdict, "bad" if report.findings else "fine").set("role", "status")
    figures = SubElement(header, "dl")
    for name, value in _figures(report):
        pair = SubElement(figures, "div")
        _text(pair, "dt", name)
        _text(pair, "dd", f"{value:,}")


def _figures(report: Report) -> Iterator[tuple[str, int]]:
    yield "files", report.files
    yield "Markdown documents checked", report.documents
    yield "links", report.links
    yield "external, not checked", report.external
    yield "new events in this run", report.new_events
    for kind, count in report.by_kind.items():
        if count:
            yield f"links {KINDS[kind]}", count


def _contents(nav: Element, report: Report) -> None:
    details = SubElement(nav, "details")
    _text(details, "summary", "Documents with findings")
    items = SubElement(details, "ol")
    for number, (path, findings) in enumerate(report.by_document):
        item = SubElement(items, "li")
        _text(item, "a", path).set("href", f"#d{number}")
        _text(item, "span", f" {len(findings):,}", "count")


def _document(section: Element, path: str, findings: list[Finding]) -> None:
    _text(section, "h2", path)
    table = SubElement(SubElement(section, "div", {"class": "wide"}), "table")
    row = SubElement(SubElement(table, "thead"), "tr")
    for name in ("Line", "Link", "What is wrong", "Perhaps"):
        _text(row, "th", name).set("scope", "col")
    rows = SubElement(table, "tbody")
    for finding in findings:
        row = SubElement(rows, "tr")
        _text(row, "td", str(finding.line), "line")
        _text(SubElement(row, "td"), "code", finding.target)
        wrong = SubElement(row, "td")
        _text(wrong, "span", finding.kind, "kind")
        _text(wrong, "span", f" {finding.message}")
        near = SubElement(row, "td")
        if finding.suggestion is not None:
            _text(near, "code", finding.suggestion)


def _text(parent: Element, tag: str, text: str, look: str | None = None) -> Element:
    element = SubElement(parent, tag, {"class": look} if look else {})
    element.text = _safe(text)
    return element


def _safe(text: str) -> str:
    """Control characters have no place in HTML, and those that turn the direction of text would hide a name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
