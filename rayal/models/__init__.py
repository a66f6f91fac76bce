"""Networks, their weights, and what lives beside them."""
