"""How units are scored and selected: one strategy per file."""
