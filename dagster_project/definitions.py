"""The Dagster code location: everything under `defs/`, run in one process so that the warehouse has one writer."""

from pathlib import Path

import dagster as dg

from dagster_project.defs.instance.lost_runs import recorded_in_process

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    dg.Definitions(executor=recorded_in_process),
)
