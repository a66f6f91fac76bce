"""What a part is, for people: the terminal, the pages and Python show the same."""
