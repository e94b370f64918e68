"""An event-sourced log on Redis Streams."""
