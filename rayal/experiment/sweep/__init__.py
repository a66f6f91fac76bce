"""Sweeps: what is varied, the trials that it makes, and what is known of them from their folders.

A trial is an ordinary run of one arm (one assignment of what is varied) and one seed. Its folder is
all that is remembered, so a sweep that was killed goes on from the folders alone.
"""
