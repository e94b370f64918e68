"""Projections beside loops by hand and a peer: rebuilt from a backlog, and behind a log that is written to."""
