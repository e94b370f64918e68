"""Who acts."""

import getpass
import os


def who_am_i() -> str:
    """The person at the command line, as jobs and the audit stream name them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
