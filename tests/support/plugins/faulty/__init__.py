"""Parts that fail on purpose: a user's own package, as `--plugins faulty` accepts it."""
