"""CPU time and peak memory of `double_lasso_many` beside other estimators, and of 2 million rows streamed from Parquet.

    python benchmarks/double_lasso.py                     # everything whose package is installed
    python benchmarks/double_lasso.py --rows 20000 --only ours sklearn

40 drivers x 150 controls, 19 programs, 6 courses a program. Each measurement is a process of its own with one thread;
CPU seconds are user + system of the estimation alone (data made and compiled code warmed up before), the peak is the
process's. The others take one driver at a time: they are timed on two drivers (on one from 100,000 rows on) and
multiplied to 40, marked by x.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
ROOT = Path(__file__).resolve().parents[1]
DRIVERS, CONTROLS, PROGRAMS, COURSES = 40, 150, 19, 6
LABELS = {
    "ours": "double_lasso_many, robust errors",
    "ours_course": "double_lasso_many, absorb program, jackknife by course",
    "ours_two_way": "double_lasso_many, absorb program, learner x course",
    "ours_one_driver": "double_lasso_many, robust errors, 1 driver",
    "sklearn": "scikit-learn LassoCV double selection",
    "statsmodels": "statsmodels OLS, all controls, cluster",
    "pyfixest": "pyfixest, all controls, program absorbed, CRV1",
    "doubleml": "DoubleML PLR, LassoCV, 5 folds",
}


def rows_of(seed: int, n: int):
    """Columns of n rows: a dictionary of arrays. Three rows a learner; a third of the controls are 0/1."""
    import numpy as np

    rng = np.random.default_rng([20240301, seed])
    learner = np.arange(n) // 3
    program = np.repeat(rng.integers(0, PROGRAMS, n // 3 + 1), 3)[:n]
    course = program * COURSES + rng.integers(0, COURSES, n)
    x = rng.standard_normal((CONTROLS, n))
    for j in range(1, CONTROLS):
        x[j] = 0.4 * x[j - 1] + 0.9165 * x[j]
    x[::3] = x[::3] > 0.8
    program_effect = np.linspace(-0.5, 0.5, PROGRAMS)[program]
    d = rng.standard_normal((DRIVERS, n)) + program_effect
    for j in range(DRIVERS):
        for k in range(5):
            d[j] += 0.3 * x[(7 * j + 11 * k) % CONTROLS]
    y = 0.05 * d[0] + 0.3 * x[:10].sum(axis=0) + program_effect + rng.standard_normal(n)
    columns = {f"x{j}": x[j] for j in range(CONTROLS)} | {f"d{j}": d[j] for j in range(DRIVERS)}
    return columns | {
        "y": (y > 0).astype(float),
        "program": program,
        "course": course,
        "learner": learner + 10**7 * seed,
    }


def frame(n: int):
    import pandas as pd

    return pd.DataFrame(rows_of(0, n))


def names() -> tuple[list[str], list[str]]:
    return [f"d{j}" for j in range(DRIVERS)], [f"x{j}" for j in range(CONTROLS)]


def ours(data, drivers: list[str] | None = None, **settings) -> None:
    from dagster_project.stats.double_lasso.many import double_lasso_many

    all_drivers, controls = names()
    table = double_lasso_many(
        data, outcome="y", drivers=all_drivers if drivers is None else drivers, controls=controls, **settings
    )
    assert (table["status"] == "estimated").all(), table["reason"].dropna().tolist()


def sklearn_double_selection(data, driver: str) -> None:
    import numpy as np
    from sklearn.linear_model import LassoCV
    from sklearn.preprocessing import StandardScaler

    _, controls = names()
    x = StandardScaler().fit_transform(data[controls].to_numpy())
    y, d = data["y"].to_numpy(), data[driver].to_numpy()
    chosen = (LassoCV(cv=5).fit(x, y).coef_ != 0) | (LassoCV(cv=5).fit(x, d).coef_ != 0)
    import statsmodels.api as sm

    design = sm.add_constant(np.column_stack([d, x[:, chosen]]))
    sm.OLS(y, design).fit(cov_type="HC1")


def statsmodels_all_controls(data, driver: str) -> None:
    import pandas as pd
    import statsmodels.api as sm

    _, controls = names()
    dummies = pd.get_dummies(data["program"], drop_first=True, dtype=float)
    design = sm.add_constant(pd.concat([data[[driver, *controls]], dummies], axis=1).to_numpy())
    sm.OLS(data["y"].to_numpy(), design).fit(cov_type="cluster", cov_kwds={"groups": data["course"].to_numpy()})


def pyfixest_all_controls(data, driver: str) -> None:
    import pyfixest

    _, controls = names()
    pyfixest.feols(f"y ~ {driver} + {' + '.join(controls)} | program", data, vcov={"CRV1": "course"})


def doubleml_plr(data, driver: str) -> None:
    import doubleml
    from sklearn.linear_model import LassoCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, controls = names()
    learner = make_pipeline(StandardScaler(), LassoCV(cv=5))
    prepared = doubleml.DoubleMLData(data[["y", driver, *controls]], y_col="y", d_cols=driver, x_cols=controls)
    doubleml.DoubleMLPLR(prepared, ml_l=learner, ml_m=learner, n_folds=5).fit()


PEERS: dict[str, Callable] = {
    "sklearn": sklearn_double_selection,
    "statsmodels": statsmodels_all_controls,
    "pyfixest": pyfixest_all_controls,
    "doubleml": doubleml_plr,
}
OURS: dict[str, dict] = {
    "ours": {},
    "ours_course": {"absorb": "program", "cluster": "course"},
    "ours_two_way": {"absorb": "program", "cluster": ["learner", "course"]},
    "ours_one_driver": {"drivers": ["d0"]},
}


def measure(what: str, n: int) -> dict[str, float]:
    """In this process: CPU seconds, how many drivers were done, and peak memory in MB; -1 drivers: not installed."""
    import warnings

    warnings.filterwarnings("ignore")
    if what in PEERS:
        try:
            __import__(what)
        except ModuleNotFoundError:
            return {"drivers": -1}
    data = frame(n)
    base = peak()
    if what in OURS:
        ours(data.head(3300), **OURS[what])  # compiles
        start = time.process_time()
        ours(data, **OURS[what])
        count = len(OURS[what].get("drivers", names()[0]))
    else:
        if what == "pyfixest":
            PEERS[what](data.head(3000), "d0")  # compiles
        count = 2 if n < 100_000 else 1
        start = time.process_time()
        for j in range(count):
            PEERS[what](data, f"d{j}")
    return {"seconds": time.process_time() - start, "drivers": count, "peak": peak(), "base": base}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_parquet(folder: Path, n: int, part: int = 100_000) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for seed in range(n // part):
        table = pa.table(rows_of(seed, part))
        pq.write_table(table, folder / f"part-{seed:03d}.parquet", row_group_size=32_768)


def measure_streamed(folder: Path, settings: dict) -> dict[str, float]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)

    def batches() -> Iterator[pa.RecordBatch]:
        for path in sorted(folder.glob("*.parquet")):
            with pq.ParquetFile(path, pre_buffer=False) as file:
                yield from file.iter_batches(batch_size=8192, use_threads=False)

    ours(frame(3300), **settings)  # compiles
    base, start = peak(), time.process_time()
    ours(batches, **settings)
    return {"seconds": time.process_time() - start, "drivers": DRIVERS, "peak": peak(), "base": base}


def in_own_process(*arguments: str) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, __file__, "--measure", *arguments],
        env={**os.environ, **THREADS, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(f"{arguments} failed:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[20_000, 200_000])
    parser.add_argument("--only", nargs="*", choices=list(LABELS), default=list(LABELS))
    parser.add_argument(
        "--streamed", type=int, nargs="*", default=[500_000, 2_000_000], help="rows in Parquet; none: skip"
    )
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, value, *rest = arguments.measure
        if what == "streamed":
            print(json.dumps(measure_streamed(Path(value), OURS[rest[0]])))
        else:
            print(json.dumps(measure(what, int(value))))
        return

    for n in arguments.rows:
        print(f"\n{n:,} rows, {DRIVERS} drivers x {CONTROLS} controls, one thread")
        print(f"{'':56}{'CPU s':>10}{'':3}{'times ours':>12}{'peak MB':>10}{'of it data':>12}")
        ours_seconds = None
        for what in arguments.only:
            found = in_own_process(what, str(n))
            if found["drivers"] < 0:
                print(f"{LABELS[what]:56}{'not installed':>10}")
                continue
            wanted = 1 if what == "ours_one_driver" else DRIVERS
            seconds = found["seconds"] * wanted / found["drivers"]
            ours_seconds = seconds if what == "ours" else ours_seconds
            mark = f"x{wanted // found['drivers']}" if found["drivers"] < wanted else ""
            ratio = f"{seconds / ours_seconds:.1f}" if ours_seconds else ""
            print(
                f"{LABELS[what]:56}{seconds:>10.2f}{mark:>4}{ratio:>11}{found['peak']:>10.0f}{found['base']:>12.0f}",
                flush=True,
            )
    for n in arguments.streamed:
        with tempfile.TemporaryDirectory() as folder:
            write_parquet(Path(folder), n)
            for what in ("ours", "ours_course", "ours_two_way"):
                found = in_own_process("streamed", folder, what)
                figures = f"{found['seconds']:.1f} CPU s, peak {found['peak']:.0f} MB, {found['base']:.0f} before"
                print(f"{n:,} rows streamed from Parquet, {LABELS[what]}: {figures}", flush=True)


if __name__ == "__main__":
    main()
