"""A strategy with a fit, by a name that other processes find."""

from rayal.testing.side import Outside


class LooksOutside(Outside):
    """What is least like the labeled units."""
