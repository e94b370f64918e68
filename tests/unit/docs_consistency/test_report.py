import io
import re

from msgspec.structs import replace

from examples.docs_consistency.checks import Finding
from examples.docs_consistency.report import Report, page, print_report

FINDINGS = (
    Finding("a.md", 3, "gone.md", "missing-file", "there is no gone.md", "going.md"),
    Finding("a.md", 9, "#no", "missing-anchor", "a.md has no anchor #no"),
    Finding("docs/b.md", 1, "../../x", "leaves-root", "leads out of the checkout"),
)
REPORT = Report(
    source="/src/project at commit abc",
    commit="abc",
    part="",
    new_revisions=2,
    new_events=5,
    files=10,
    documents=4,
    links=120,
    external=20,
    findings=FINDINGS,
    seconds=1.25,
)


def printed(report: Report, limit: int | None = 50) -> str:
    out = io.StringIO()
    print_report(report, limit=limit, out=out)
    return out.getvalue()


def test_the_terminal_report_groups_findings_by_document() -> None:
    text = printed(REPORT)
    assert text.splitlines()[:5] == [
        "a.md",
        "  line 3: gone.md",
        "    missing-file: there is no gone.md",
        "    perhaps: going.md",
        "  line 9: #no",
    ]
    assert "3 findings in 2 documents." in text
    assert "120 links, 20 of them external and not checked" in text


def test_what_is_left_out_is_counted() -> None:
    assert "... and 1 more" in printed(REPORT, limit=2)
    assert "docs/b.md" not in printed(REPORT, limit=2)
    assert "... and 2 more" in printed(REPORT, limit=1)
    assert "more:" not in printed(REPORT, limit=3)
    assert "more:" not in printed(REPORT, limit=None)


def test_nothing_found_is_said() -> None:
    assert "Nothing was found." in printed(replace(REPORT, findings=()))
    assert "All 100 links inside the checkout lead somewhere." in page(replace(REPORT, findings=()))


def test_names_cannot_steer_the_terminal() -> None:
    evil = Finding("a\x1b[2J.md", 1, "x\u202e\x07", "missing-file", "there is no \n\r", None)
    assert not re.search(r"[^\x20-\x7e\n]", printed(replace(REPORT, findings=(evil,))))


def test_the_page_holds_every_finding_and_figure() -> None:
    html = page(REPORT)
    for text in ("a.md", "docs/b.md", "gone.md", "going.md", "missing-anchor", "there is no gone.md", "120"):
        assert text in html
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')


def test_the_page_asks_for_nothing_from_outside() -> None:
    html = page(REPORT)
    assert not re.search(r"<(script|link|img|iframe|object)\b|url\(|@import|https?://", html)
    assert "default-src 'none'" in html


def test_the_page_is_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in page(REPORT)


def test_strangers_text_is_escaped() -> None:
    evil = "</style><script>alert(1)</script>\"'&"
    html = page(replace(REPORT, source=evil, findings=(Finding(evil, 1, evil, "missing-file", evil, evil),)))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 6
