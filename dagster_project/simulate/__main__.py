"""`python -m dagster_project.simulate --students 2000 --seed 1 --landing DIR`: writes a university."""

import argparse
import resource
import time
from pathlib import Path

from dagster_project.simulate import STUDENTS, VARIANTS, variants, write


def main() -> None:
    """Reads the command line, writes the files, prints rows, planted dirt, speed and memory."""
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.simulate",
        description="Write a simulated university.",
        epilog=f"Skills\n\n{variants.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--landing", type=Path, required=True, help="landing folder")
    parser.add_argument(
        "--students", type=int, default=STUDENTS, help="degree students with a matured first-year outcome"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--truth", type=Path, help="file for the truth; default: <landing>-truth.json beside the folder"
    )
    parser.add_argument("--hidden", action="store_true", help="switch on the hidden confounder")
    parser.add_argument("--skills", choices=VARIANTS, help="another world of skills, see below; default: none of them")
    options = parser.parse_args()
    truth = options.truth or options.landing.with_name(f"{options.landing.name}-truth.json")
    begin = time.perf_counter()
    report = write(options.landing, truth, options.seed, options.students, hidden=options.hidden, skills=options.skills)
    seconds = time.perf_counter() - begin
    for table, rows in sorted(report.rows.items()):
        print(f"{table:24s} {rows:>12,} rows")
    print("planted dirt")
    for table, kinds in report.dirt.nested().items():
        for kind, count in kinds.items():
            print(f"  {table:22s} {kind:20s} {count:>8,}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{seconds:.1f} s, {report.rows['events'] / seconds / 1e6:.2f} million events a second, "
        f"at most {memory:,.0f} MiB"
    )
    print(f"truth: {truth}")


if __name__ == "__main__":
    main()
