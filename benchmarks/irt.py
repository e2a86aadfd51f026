"""Time, memory and recovery of the item response models, beside girth and PyPI's mirt, and against size.

    python -m benchmarks.irt                                   # ours at every size below
    python -m benchmarks.irt --peer .venv-peer/bin/python      # beside girth 0.8 and mirt 1.2.0 (a Rust library that
                                                               # shares only its name with R's mirt), those of the two
                                                               # that this environment has
    python -m benchmarks.irt --peer … --largest 100_000        # sizes up to so many answers

Every figure is from a process of its own with one thread: CPU seconds of the fit with its standard errors (girth has
none; compiled code warmed up on a small set before), highest memory of the process, of which the answers themselves.
All packages get the same answers; girth and mirt take a dense matrix in which most cells of the sparse sizes are
marked as missing. RMSE is against the planted slope and difficulty; log likelihoods are computed at each package's
estimates with 61 nodes, so that they can be compared. A peer that fails at a size, or needs more than half an hour,
gets a line that says so.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

LONGEST_SECONDS = 1800
DENSE = [(1_000, 50, 0.0), (20_000, 200, 0.0)]
SPARSE = [(2_000, 100, 0.8), (20_000, 500, 0.8), (60_000, 500, 0.8), (200_000, 500, 0.8)]


def simulate(persons: int, items: int, missing: float):
    """Answers of 2PL items in small types, made in blocks: person, item, response, planted slope and difficulty."""
    rng = np.random.default_rng(20)
    slope, difficulty = rng.uniform(0.6, 1.8, items), rng.standard_normal(items)
    room = int(persons * items * (1 - missing) * 1.01) + 10_000
    person, item, response = np.empty(room, np.int32), np.empty(room, np.int16), np.empty(room, np.int8)
    n = 0
    for first in range(0, persons, 1_000):
        ability = rng.standard_normal(min(1_000, persons - first))
        row, column = np.nonzero(rng.random((len(ability), items)) >= missing)
        logit = slope[column] * (ability[row] - difficulty[column])
        at = slice(n, n + len(row))
        person[at], item[at] = row + first, column
        response[at] = rng.random(len(row)) * (1 + np.exp(-logit)) < 1
        n += len(row)
    return person[:n], item[:n], response[:n], slope, difficulty


def fit_ours(person, item, response):
    from dagster_project.stats.item_response.calibration import calibrate

    bank = calibrate(person, item, response)
    return bank.items["slope"].to_numpy(), -(bank.items["intercept"] / bank.items["slope"]).to_numpy()


def fit_girth(dense):
    from girth import tag_missing_data, twopl_mml

    result = twopl_mml(tag_missing_data(dense.T.astype(int), [0, 1]))
    return result["Discrimination"], result["Difficulty"]


def fit_mirt(dense):
    from mirt import fit_mirt

    found = fit_mirt(dense, model="2PL", n_quadpts=61).model.parameters
    return found["discrimination"], found["difficulty"]


FITS = {"ours": fit_ours, "girth": fit_girth, "mirt": fit_mirt}


def spread(person, item, response, persons: int, items: int) -> np.ndarray:
    """Answers as a matrix (persons, items), -1 where there is none."""
    dense = np.full((persons, items), -1, np.int8)
    dense[person, item] = response
    return dense


def measure(package: str, persons: int, items: int, missing: float) -> dict:
    """One fit in this process."""
    small = simulate(300, 12, missing)[:3]
    person, item, response, slope, difficulty = simulate(persons, items, missing)
    fit = FITS[package]
    data = (person, item, response)
    if package != "ours":
        small, data = (spread(*small, 300, 12),), (spread(*data, persons, items),)
    fit(*small)
    before, began = _megabytes(), time.process_time()
    a, b = fit(*data)
    cpu = time.process_time() - began
    return {
        "package": package,
        "persons": persons,
        "items": items,
        "answers": len(response),
        "cpu": cpu,
        "peak_mb": _megabytes(),
        "before_mb": before,
        "slope_rmse": float(np.sqrt(np.mean((a - slope) ** 2))),
        "difficulty_rmse": float(np.sqrt(np.mean((b - difficulty) ** 2))),
        "log_likelihood": _log_likelihood(person, item, response, a, b, persons),
    }


def _log_likelihood(person, item, response, slope, difficulty, persons) -> float:
    node = np.linspace(-6, 6, 61)
    weight = np.exp(-0.5 * node**2)
    weight /= weight.sum()
    logit = slope[:, None] * (node[None, :] - difficulty[:, None])
    wrong, right = -np.logaddexp(0, logit), -np.logaddexp(0, -logit)
    start = np.searchsorted(person, np.arange(persons + 1))
    total = 0.0
    for first in range(0, persons, 500):
        last = min(first + 500, persons)
        at = slice(start[first], start[last])
        table = np.where(response[at, None] == 1, right[item[at]], wrong[item[at]])
        by_person = np.add.reduceat(table, start[first:last] - start[first])
        top = by_person.max(axis=1, keepdims=True)
        total += float((top[:, 0] + np.log(np.exp(by_person - top) @ weight)).sum())
    return total


def _megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _in_process(python: str, package: str, size: tuple) -> dict:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"]
    threads = dict.fromkeys(names, "1")
    command = [python, "-m", "benchmarks.irt", "--measure", package, *map(str, size)]
    root = Path(__file__).resolve().parent.parent
    limit = None if package == "ours" else LONGEST_SECONDS
    try:
        out = subprocess.run(
            command, env=os.environ | threads, cwd=root, capture_output=True, text=True, check=False, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"why": f"not done after {LONGEST_SECONDS} s"}
    if out.returncode and package == "ours":
        raise SystemExit(f"{' '.join(command)} failed:\n{out.stderr}")
    if out.returncode:
        last = (out.stderr.strip().splitlines() or ["no message"])[-1]
        return {"why": f"ended with {out.returncode}: {last}"}
    return json.loads(out.stdout.splitlines()[-1])


def _peers(python: str) -> list[str]:
    """Packages of ``FITS`` that an environment has; says which it has not."""
    found = []
    for package in list(FITS)[1:]:
        known = subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0
        if known:
            found.append(package)
        else:
            print(f"{package}: left out, {python} cannot import it\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="python of an environment with girth, mirt or both")
    parser.add_argument("--largest", type=int, default=100_000_000, help="answers of the largest size")
    parser.add_argument(
        "--measure", nargs=4, metavar=("PACKAGE", "PERSONS", "ITEMS", "MISSING"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.measure:
        package, persons, items, missing = arguments.measure
        print(json.dumps(measure(package, int(persons), int(items), float(missing))))
        return
    peers = _peers(arguments.peer) if arguments.peer else []
    print(
        "| persons × items | answers | package | CPU s | peak MB | of it before the fit | slope RMSE | difficulty RMSE "
        "| log likelihood |\n|---|---|---|---|---|---|---|---|---|"
    )
    sizes = [size for size in DENSE + SPARSE if size[0] * size[1] * (1 - size[2]) <= arguments.largest]
    for package, size in [(package, size) for size in sizes for package in ("ours", *peers)]:
        r = _in_process(sys.executable if package == "ours" else arguments.peer, package, size)
        if "why" in r:
            print(f"| {size[0]:,} × {size[1]} | | {package} | {r['why']} | | | | | |", flush=True)
            continue
        recovery = f"{r['slope_rmse']:.4f} | {r['difficulty_rmse']:.4f} | {r['log_likelihood']:.1f}"
        print(
            f"| {r['persons']:,} × {r['items']} | {r['answers']:,} | {package} | {r['cpu']:.2f} "
            f"| {r['peak_mb']:.0f} | {r['before_mb']:.0f} | {recovery} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
