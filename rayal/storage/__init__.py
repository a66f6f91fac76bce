"""Files that are whole or absent, on any storage: folders, locks, journals, YAML, CSV, Parquet."""
