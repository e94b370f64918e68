"""The ways in: actions that the command line, HTTP and the console share, and the command `eventstore`."""
