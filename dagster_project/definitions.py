"""The Dagster code location: everything under `defs/`, run in one process so that the warehouse has one writer."""

import atexit
import gc
from pathlib import Path

import dagster as dg

from dagster_project.defs.instance.lost_runs import recorded_in_process

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    dg.Definitions(executor=recorded_in_process),
)
# What is loaded by now stays for the life of the process: to look through it for garbage took a seventh of a run's CPU.
gc.freeze()
atexit.register(gc.unfreeze)
