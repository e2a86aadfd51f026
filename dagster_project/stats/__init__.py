"""Statistics: arrays and frames in, results out. Knows no database, no orchestrator and no file."""
