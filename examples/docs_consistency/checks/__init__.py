"""Checks of documents: what a Markdown file offers and asks for, and what of that does not fit together."""

from examples.docs_consistency.checks.links import check_links, is_markdown
from examples.docs_consistency.checks.outline import Link, Outline, outline_of
from examples.docs_consistency.checks.outlines import Outlines, opened_outlines
from examples.docs_consistency.checks.result import Checked, Finding

__all__ = [
    "Checked",
    "Finding",
    "Link",
    "Outline",
    "Outlines",
    "check_links",
    "is_markdown",
    "opened_outlines",
    "outline_of",
]
