"""Where images and labels come from: one dataset per file."""
