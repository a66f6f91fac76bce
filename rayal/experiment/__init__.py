"""What a run is, from YAML: an experiment, and the arms of a sweep."""
