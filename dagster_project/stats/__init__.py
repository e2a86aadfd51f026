"""Statistics: arrays and frames in, results out. Knows no database, no orchestrator and no file.

Dagster imports these modules with its definitions, so that pandas, scipy and what is built on them are imported inside
the functions that use them, and compiled loops lie in modules of their own, `kernels`, which are imported where they
run.
"""
