"""What `rayal labels` does: answers of people taken back into a run that waits for them."""
