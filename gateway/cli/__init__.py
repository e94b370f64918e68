"""The command `eventstore`."""

from gateway.cli.main import main

__all__ = ["main"]
