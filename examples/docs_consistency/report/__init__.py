"""The report of a run: as text for the terminal, as one HTML page, as JSON."""

from examples.docs_consistency.report.page import page
from examples.docs_consistency.report.summary import Report
from examples.docs_consistency.report.terminal import print_report

__all__ = ["Report", "page", "print_report"]
