"""What goes to labeling tools and comes back from them: one format per file."""
