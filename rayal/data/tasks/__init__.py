"""What is predicted, and how it is measured: one task per file."""
