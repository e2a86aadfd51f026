"""On the path of a child process, Python runs this first: its wall clock is then `CHAOS_CLOCK_DAYS` off.

`time.time` is moved for everybody; `datetime.now`, which is C and cannot be changed, in the project's modules and in
Dagster's own clock. dbt and DuckDB read no clock: no model knows the day on which it is built.
"""

import datetime
import importlib.abc
import os
import sys
import time

_days = float(os.environ.get("CHAOS_CLOCK_DAYS", "0"))
_shift = datetime.timedelta(days=_days)
_now, _time = datetime.datetime.now, time.time


class Moved(datetime.datetime):
    """A `datetime` whose `now` is off."""

    @classmethod
    def now(cls, tz=None):
        return _now(tz) + _shift


class _Finder(importlib.abc.MetaPathFinder):
    """Exchanges the name `datetime` of every module of the project after it was executed."""

    def find_spec(self, fullname, path, target=None):
        if not fullname.startswith("dagster_project") and fullname not in (
            "dagster._time",
            "dagster_shared.utils.timing",
        ):
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(fullname, path, target)):
                break
        else:
            return None
        if hasattr(spec.loader, "exec_module"):
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                if getattr(module, "datetime", None) is datetime.datetime:
                    module.datetime = Moved

            spec.loader.exec_module = exec_module
        return spec


if _days:
    time.time = lambda: _time() + _shift.total_seconds()
    sys.meta_path.insert(0, _Finder())
