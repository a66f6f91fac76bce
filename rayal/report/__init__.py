"""Curves and tables from run folders."""
