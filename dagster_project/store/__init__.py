"""The warehouse as Python sees it: read and write tables, hold the write lock, publish snapshots."""
