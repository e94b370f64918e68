"""The peers, a module each: what they are asked to do through their public API, and what they do not do."""
