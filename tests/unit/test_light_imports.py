"""What imports may cost: every process of Dagster pays for those of the definitions."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"great_expectations", "lightgbm", "matplotlib", "numba", "pandas", "scipy", "sklearn", "statsmodels"}
IMPORT_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({module.split(".")[0] for module in sys.modules})))
"""


def test_the_modules_of_stats_load_no_heavy_library():
    """But for the compiled kernels, which are imported where they run."""
    files = (ROOT / "dagster_project" / "stats").rglob("*.py")
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if "kernels" not in file.stem]
    assert len(names) > 30
    assert HEAVY & loaded_by(names) == set()


def test_the_definitions_load_no_heavy_library():
    """Every process of Dagster imports them: the server, its daemon, each run."""
    assert HEAVY & loaded_by(["dagster_project.definitions"]) == set()


def loaded_by(names: list[str]) -> set[str]:
    """Top-level packages that a fresh process has loaded after importing these modules."""
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    loaded = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return set(json.loads(loaded))
