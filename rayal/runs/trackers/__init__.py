"""Views of the ledger for people: one tracker per file."""
