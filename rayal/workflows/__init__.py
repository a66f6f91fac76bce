"""The verbs behind the command line: run, sweep, plan, score, select."""
