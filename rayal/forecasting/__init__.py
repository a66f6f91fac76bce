"""What a learning curve says of labels that are not bought yet."""
