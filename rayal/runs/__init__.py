"""The run folder: written by one process, read by many."""
