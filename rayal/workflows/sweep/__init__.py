"""Sweeps: many trials of one experiment, as a whole (`sweeping`) and one by one (`trial`)."""
