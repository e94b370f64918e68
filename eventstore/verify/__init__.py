"""Verify: walk the log and check its invariants."""

from eventstore.verify.findings import Finding, Findings
from eventstore.verify.log import CHECKS, Check, OnProgress, check_log, verify

__all__ = ["CHECKS", "Check", "Finding", "Findings", "OnProgress", "check_log", "verify"]
