"""What surrounds the code: settings, connections, the embedded server, and the root of the errors."""

from infrastructure.errors import EventStoreError, SettingsError, Unavailable

__all__ = ["EventStoreError", "SettingsError", "Unavailable"]
