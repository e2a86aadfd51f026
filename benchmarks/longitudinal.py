"""Time, memory and recovery of the longitudinal item model against size.

    python -m benchmarks.longitudinal [--largest 20_000_000]

Learners choose courses by their ability among 50 courses of 10 questions on three levels, complete seven in ten of
them, and gain by it; everybody sits a check of 20 questions first. The fit knows who took which course. Each size runs
in a process of its own with one thread; compiled code is warmed up on a small set before. Errors of courses and gains
are in planted sds, stated errors beside them. `python -m benchmarks.irt` has girth and mirt at the same sizes, which
know nothing of growth.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

SIZES = (20_000, 200_000, 2_000_000, 20_000_000)
COURSES, QUESTIONS, CHECK, TAKEN = 50, 10, 20, 8


def simulate(learners: int, seed: int = 3):
    """Answers (person, item, course, day, response) and completions (person, course, day) in small types, and truth."""
    rng = np.random.default_rng(seed)
    level = np.repeat([0, 1, 2], [17, 17, 16])
    items = COURSES * QUESTIONS + CHECK
    slope = rng.uniform(0.6, 1.8, items)
    location = 0.8 * (level - 1) + 0.3 * rng.standard_normal(COURSES)
    difficulty = np.r_[
        np.repeat(location, QUESTIONS) + 0.7 * rng.standard_normal(COURSES * QUESTIONS), rng.standard_normal(CHECK)
    ]
    gain = np.where(rng.random(COURSES) < 0.35, 0.0, rng.uniform(0.1, 0.6, COURSES))
    answers = learners * (TAKEN * QUESTIONS + CHECK)
    person, item = np.empty(answers, np.int32), np.empty(answers, np.int16)
    day, response = np.empty(answers, np.int16), np.empty(answers, np.int8)
    done_person, done_course, done_day = [], [], []
    at = 0
    for first in range(0, learners, 2_000):
        n = min(2_000, learners - first)
        ability = rng.standard_normal(n)
        pull = -np.abs(ability[:, None] - 0.8 * (level - 1)[None, :]) + rng.gumbel(size=(n, COURSES))
        chosen = np.argsort(-pull, axis=1)[:, :TAKEN]
        completed = rng.random((n, TAKEN)) < 0.7
        gained = np.cumsum(gain[chosen] * completed, axis=1) - gain[chosen] * completed
        asked = np.hstack(
            [
                np.tile(np.arange(COURSES * QUESTIONS, items), (n, 1)),
                (chosen[:, :, None] * QUESTIONS + np.arange(QUESTIONS)).reshape(n, -1),
            ]
        )
        theta = ability[:, None] + np.hstack([np.zeros((n, CHECK)), np.repeat(gained, QUESTIONS, axis=1)])
        when = np.r_[np.zeros(CHECK, int), np.repeat(30 * np.arange(1, TAKEN + 1), QUESTIONS)]
        p = 1 / (1 + np.exp(-slope[asked] * (theta - difficulty[asked])))
        part = slice(at, at + asked.size)
        person[part], item[part] = np.repeat(np.arange(first, first + n), asked.shape[1]), asked.ravel()
        day[part], response[part] = np.tile(when, n), (rng.random(p.shape) < p).ravel()
        who, place = np.nonzero(completed)
        done_person.append(first + who)
        done_course.append(chosen[who, place])
        done_day.append(30 * (place + 1))
        at += asked.size
    course = (item // QUESTIONS).clip(max=COURSES).astype(np.int16)
    done = [np.concatenate(parts).astype(np.int32) for parts in (done_person, done_course, done_day)]
    return (person, item, response, course, day), done, (slope, difficulty, location, level, gain)


def fit(learners: int):
    """Calibrated bank, and the truth."""
    from scipy.sparse import csr_array

    from dagster_project.stats.item_response.histories import histories
    from dagster_project.stats.item_response.longitudinal import calibrate_longitudinal

    answers, done, truth = simulate(learners)
    pairs = np.unique(answers[0].astype(np.int64) * (COURSES + 1) + answers[3])
    pairs = pairs[pairs % (COURSES + 1) < COURSES]
    taken = csr_array(
        (np.ones(len(pairs), np.int8), (pairs // (COURSES + 1), pairs % (COURSES + 1))), shape=(learners, COURSES)
    )
    held = _megabytes()
    began = time.process_time()
    data = histories(*answers, *done)
    del answers, done
    found = calibrate_longitudinal(data, {c: int(level) + 1 for c, level in enumerate(truth[3])}, taken=taken)
    return found, truth, time.process_time() - began, held


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(learners: int) -> dict:
    fit(500)
    found, (slope, difficulty, _, _, gain), seconds, held = fit(learners)
    items = found.bank.items
    unit = (items["slope"] * items["n"]).sum() / (slope[items["item"]] * items["n"]).sum()
    error = found.bank.difficulties()["difficulty_1"].to_numpy() * unit - difficulty[items["item"]]
    error -= error[items["item"] >= COURSES * QUESTIONS].mean()
    by_course = np.bincount(items["course"], error)[:COURSES] / QUESTIONS
    gains = found.gains.set_index("course").reindex(range(COURSES))
    off = gains["gain"].to_numpy() * unit - gain
    return {
        "answers": int(items["n"].sum()),
        "passes": found.facts["passes"],
        "converged": found.facts["converged"],
        "seconds": seconds,
        "megabytes": _megabytes(),
        "held": held,
        "course_error": float(by_course.std()),
        "stated": float(found.courses["location_se"].iloc[:COURSES].mean() * unit),
        "gain_error": float(off.std()),
        "gain_stated": float(gains["gain_se"].mean() * unit),
        "inside": float((np.abs(off) <= 1.96 * gains["gain_se"] * unit).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="sizes up to so many answers")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only)))
        return
    print(
        "| answers | CPU s | passes | peak MB | of it before the fit | course error | stated | gain error | stated "
        "| 95 % interval holds the gain |\n" + "|---" * 10 + "|"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for answers in SIZES:
        if answers > arguments.largest:
            break
        learners = answers // (TAKEN * QUESTIONS + CHECK)
        command = [sys.executable, "-m", "benchmarks.longitudinal", "--only", str(learners)]
        out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        r = json.loads(out.splitlines()[-1])
        print(
            f"| {r['answers']:,} | {r['seconds']:.1f} | {r['passes']}{'' if r['converged'] else ' (not converged)'} "
            f"| {r['megabytes']:.0f} | {r['held']:.0f} | {r['course_error']:.3f} | {r['stated']:.3f} "
            f"| {r['gain_error']:.3f} | {r['gain_stated']:.3f} | {r['inside']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
