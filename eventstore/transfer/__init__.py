"""Import and export of NDJSON."""

from eventstore.transfer.files import Imported, OnProgress, export_events, import_events

__all__ = ["Imported", "OnProgress", "export_events", "import_events"]
