"""What surrounds the code: settings, and the root of the errors.

`infrastructure.connect` (which loads the Redis client, 0.4 s) and `infrastructure.embedded` are imported where a server
is really needed.
"""

from infrastructure.errors import EventStoreError, SettingsError, Unavailable
from infrastructure.settings import RedisSettings, Secret, Settings, get_config_value, get_secret, load_settings

__all__ = [
    "EventStoreError",
    "RedisSettings",
    "Secret",
    "Settings",
    "SettingsError",
    "Unavailable",
    "get_config_value",
    "get_secret",
    "load_settings",
]
