"""Where read models are kept."""
