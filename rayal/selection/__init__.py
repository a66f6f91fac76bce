"""From scores to a choice: rankings, greedy choices, distances, feature files."""
