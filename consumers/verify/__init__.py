"""What `eventstore verify` checks of consumers, beside the log itself."""

from consumers.verify.groups import check_groups

__all__ = ["check_groups"]
