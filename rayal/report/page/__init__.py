"""The page of a report: one HTML file that needs nothing else, and nobody's network.

A section is a module here with a function `section`, which makes it from the runs, or None where
they have nothing to say of it; `document.py` has their order.
"""
