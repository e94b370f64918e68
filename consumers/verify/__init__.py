"""What `eventstore verify` checks of consumers, beside the log itself."""

from consumers.verify.groups import check_groups
from consumers.verify.sagas import check_sagas

__all__ = ["check_groups", "check_sagas"]
