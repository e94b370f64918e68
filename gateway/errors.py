"""Errors that only the ways in know."""

from infrastructure.errors import EventStoreError


class BadRequest(EventStoreError):
    """What was asked for makes no sense as it is."""

    code = "bad-request"
