"""What consumes the same orders by other means: each a contestant, which fills a place of its own and empties it."""
