"""Sagas beside their peer: three trivial steps each, many at once, by one process that starts and runs them."""
