"""The planted truth holds: solved figures, printed marginals, and confounding that the eligible controls take away."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dagster_project import simulate
from dagster_project.simulate import truth, world
from dagster_project.simulate.drivers import BY_NAME, DRIVERS, Driver
from dagster_project.simulate.population import Population, draw
from dagster_project.simulate.tables import learner_course, learner_program

SEEDS = Path(__file__).parents[2] / "dbt" / "seeds"
# Null drivers without a row in the catalogue use the controls of a like one.
LIKE = {
    "has_target_role": "open_not_completed",
    "is_sponsored": "open_not_completed",
    "late_penalty": "grade_distribution",
    "forum_days": "first_days_active",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def populations() -> list[Population]:
    return [draw(seed, truth.STUDENTS, truth.solved()) for seed in truth.SOLVING_SEEDS]


@pytest.fixture(scope="module")
def found(populations: list[Population]) -> dict[str, dict[str, float]]:
    """Planted and naive percent of every driver, recomputed with other permutations than those solved with."""
    return {driver.name: truth.estimand(populations, driver.name, seed=77, contrast=True) for driver in DRIVERS}


def test_the_population_has_the_size_and_rate_that_were_planted(populations: list[Population]) -> None:
    probability = np.concatenate([p.probability[p.learners["matured"]] for p in populations])
    assert len(probability) >= 300_000
    assert probability.mean() == pytest.approx(truth.BASE_RATE, abs=0.002)


def test_every_solved_percent_is_the_planted_one_within_a_tenth_of_a_point(found: dict[str, dict[str, float]]) -> None:
    missed = {
        name: round(figures["planted"] - BY_NAME[name].planted, 3)
        for name, figures in found.items()
        if abs(figures["planted"] - BY_NAME[name].planted) > 0.1
    }
    assert not missed


def test_the_quartile_contrast_differs_by_curvature_only(found: dict[str, dict[str, float]]) -> None:
    for name, figures in found.items():
        assert abs(figures["contrast"] - figures["planted"]) <= max(0.15 * abs(BY_NAME[name].planted), 0.1), name


def test_the_naive_percent_is_visibly_wrong_for_most_drivers(found: dict[str, dict[str, float]]) -> None:
    effects = [d.name for d in DRIVERS if d.planted]
    wrong = [name for name in effects if abs(found[name]["naive"] - found[name]["planted"]) > 1.5]
    assert len(wrong) >= 0.6 * len(effects), set(effects) - set(wrong)


def test_each_printed_quartile_is_met_at_report_size() -> None:
    tables = simulate.tables(1)
    misses = {}
    for driver in DRIVERS:
        if driver.printed and not driver.is_binary and driver.kind != "program":
            value = sample_of(driver, tables.learner_course)[1]
            tolerance = 0.15 * (driver.high - driver.low)
            if driver.column.endswith(("days_active", "_count")):
                tolerance = max(tolerance, 1)
            gaps = np.quantile(value, [0.25, 0.75]) - [driver.low, driver.high]
            if (np.abs(gaps) > tolerance).any():
                misses[driver.name] = np.quantile(value, [0.25, 0.75])
    assert not misses
    learners = tables.learner_program.to_pandas()
    assert len(learners) == 17_960
    assert learners.program_id.nunique() == 19
    assert learners.age_years.median() > 28
    assert learners.employment_status.isin(["full_time", "part_time", "self_employed"]).mean() > 0.7
    assert sum(map(len, world.REGIONS.values())) > 90


def sample_of(driver: Driver, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a driver's sample and its values there."""
    value = table[driver.column].to_numpy().astype(float)
    keep = ~np.isnan(value)
    if driver.sample == "not dropped":
        keep &= ~table["is_dropped"].to_numpy().astype(bool)
    elif driver.sample == "share > 0":
        keep &= value > 0
    return keep, value[keep]


def eligible_columns(driver: Driver, table: pa.Table) -> list[str]:
    def rows(name: str) -> list[dict[str, str]]:
        with (SEEDS / f"{name}.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    groups = {row["driver_id"]: row["driver_group"] for row in rows("driver_catalogue")} | LIKE
    allowed = {
        row["control_group"]
        for row in rows("driver_control_eligibility")
        if row["driver_group"] == groups[driver.name] and row["eligible"] == "yes"
    }
    columns = [row["mart_column"] for row in rows("driver_control_groups") if row["control_group"] in allowed]
    return [column for column in columns if column in table.column_names and column != driver.column]


def regression_percent(driver: Driver, table: pa.Table) -> float:
    """The report's figure from a least-squares regression of the true probability, programs absorbed."""
    keep, value = sample_of(driver, table)
    columns = [value]
    for name in eligible_columns(driver, table):
        column = table[name].to_numpy()[keep]
        if column.dtype == object and isinstance(column[0], str):
            columns += [(column == level).astype(float) for level in sorted(set(column))[1:]]
        else:
            number = column.astype(float)
            missing = np.isnan(number)
            columns += [np.where(missing, 0, number), missing.astype(float)]
    outcome = table["true_probability"].to_numpy()[keep]
    program = np.unique(table["program_id"].to_numpy()[keep], return_inverse=True)[1]
    design = np.column_stack([*columns, outcome])
    size = np.bincount(program)
    for k in range(design.shape[1]):
        design[:, k] -= (np.bincount(program, design[:, k]) / size)[program]
    spread = design.std(axis=0)
    used = spread > 1e-9
    used[-1] = False
    x = design[:, used] / spread[used]
    moments = x.T @ x + 1e-8 * len(x) * np.eye(x.shape[1])
    slope = np.linalg.solve(moments, x.T @ design[:, -1])[0]
    return truth.percent(slope / spread[0], driver.low, driver.high, float(outcome.mean()), float(value.mean()))


def test_a_regression_on_the_eligible_controls_comes_near_the_planted_percent(populations: list[Population]) -> None:
    """What confounding, weighting and curvature leave; 10 × 456 courses still leave some noise."""
    some = populations[:10]
    tables = {
        "learner_program": pa.concat_tables([learner_program(p, with_probability=True) for p in some]),
        "learner_course": pa.concat_tables([learner_course(p, with_probability=True) for p in some]),
    }
    gaps = {d.name: regression_percent(d, tables[d.level]) - d.planted for d in DRIVERS}
    allowed = {"program": 0.5, "own": 0.6, "design": 1.0, "course": 1.6}
    missed = {name: round(gap, 2) for name, gap in gaps.items() if abs(gap) > allowed[BY_NAME[name].kind]}
    assert not missed
    assert np.median(np.abs(list(gaps.values()))) < 0.4


def test_generation_takes_time_in_proportion_to_the_students(tmp_path: Path) -> None:
    """Processor time at 1× and 4× without the fixed costs (courses, imports); memory of the process."""
    script = (
        "import resource, sys; from pathlib import Path; from dagster_project import simulate;"
        "simulate.write(Path(sys.argv[1]), Path(sys.argv[1] + '.json'), 1, int(sys.argv[2]));"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "high = [x for x in open('/proc/self/status') if x.startswith('VmHWM')][0].split()[1];"
        "print(used.ru_utime + used.ru_stime, int(high) / 1024)"
    )

    def cost(students: int) -> tuple[float, float]:
        command = [sys.executable, "-c", script, str(tmp_path / str(students)), str(students)]
        seconds, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return float(seconds), float(memory)

    begin = time.perf_counter()
    none, one, four = (cost(students) for students in (50, 2_000, 8_000))
    slope = np.log((four[0] - none[0]) / (one[0] - none[0])) / np.log(4)
    print(f"50: {none}, 2,000: {one}, 8,000: {four}, slope {slope:.3f}, {time.perf_counter() - begin:.0f} s")
    assert slope <= 1.1
    assert four[1] < 4 * one[1]
