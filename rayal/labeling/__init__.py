"""Who answers and what it costs: oracles, budgets, clicks, regions."""
