"""What is fitted after a training and before its scoring pass, one companion in one file."""
