"""Consumers side by side with peers, and with themselves under load, failure and urgency."""
