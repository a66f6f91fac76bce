"""Who answers with labels: one oracle per file."""
