"""Images, masks and labels: what a dataset is, how it is prepared once and read from then on."""
