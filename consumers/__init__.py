"""Consumers: groups that handle the events of a log in order, with retries, dead letters and replay."""
