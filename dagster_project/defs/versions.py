"""What each asset is made by: the nodes of a plan (`store/plan.py`), by Dagster's graph, the manifest and the code."""

import ast
import hashlib
import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import dagster as dg
from dagster._check import CheckError
from dagster_dbt.asset_utils import get_asset_check_key_for_test

from dagster_project.analyses.quality import suite, validation
from dagster_project.base.files import content_hash
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.manifest import MANIFEST, NODES, TRANSLATOR, contract_of
from dagster_project.ingest.changes import table_state
from dagster_project.ingest.source_state import source_states
from dagster_project.ingest.sources import contracts_with_sources, registered_sources
from dagster_project.report.pages import find_pages, page_name
from dagster_project.settings import PREFIX, REPOSITORY, Settings
from dagster_project.store.plan import Node
from dagster_project.store.warehouse import Warehouse

SOFTWARE = ("uv.lock",)
PUBLICATION = "published.learning_warehouse"
ALWAYS = ("ops", "published")
"""Schemas of what every run makes: its history, and the publication."""
PACKAGE = "dagster_project"
NOT_FOLLOWED = tuple(f"{PACKAGE}.{room}" for room in ("defs", "commands", "settings", "simulate"))
"""What hangs together with everything and computes nothing."""
CHECKS = ".checks"
"""Modules of `defs` that judge: what they do is part of the checks that they are called for."""
SETTINGS_OF_RUNS = {
    *("home", "environment", "memory_limit", "threads", "clock", "lock_timeout_seconds", "pseudonym_key"),
    *(
        "alert_addresses",
        "call_list_webhook",
        "snapshots_kept",
        "publication_key",
        "maximum_file_bytes",
        "maximum_compression_ratio",
    ),
    *("erase_from_landing", "raw_retention_days"),
}
"""Settings that decide how a run goes, or that the ledger knows of, and not what a table holds."""
RHYTHMS = {"drivers": timedelta(days=7), "grading": timedelta(days=7)}
"""How long what a step computes is kept though more data have come."""


def name_of(key: dg.AssetKey) -> str:
    """Name of an asset: "schema.table" of its key."""
    return ".".join(key.path)


def key_of(name: str) -> dg.AssetKey:
    """The asset of "schema.table"."""
    return dg.AssetKey(name.split("."))


def graph_of(context: dg.AssetExecutionContext) -> Any:
    """Dagster's graph of all assets; without a repository, of those that are made."""
    with suppress(CheckError):
        return context.repository_def.asset_graph
    return context.job_def.asset_layer.asset_graph


def nodes_of(graph: Any, settings: Settings) -> dict[str, Node]:
    """Everything that a run can make, but for its own history and for staging of contracts that no source follows.

    Args:
        graph: Dagster's graph of all assets (`Definitions.resolve_asset_graph`).
    """
    return _Nodes(graph, settings).all()


def nodes_of_step(graph: Any, settings: Settings, keys: Iterable[dg.AssetKey]) -> dict[str, Node]:
    """What a step makes, and the raw tables that it reads: all that `version_now` asks for, without the checks."""
    return _Nodes(graph, settings).of_step(keys)


class _Nodes:
    def __init__(self, graph: Any, settings: Settings) -> None:
        self.graph, self.settings = graph, settings
        self.checks: dict[dg.AssetKey, list[dg.AssetCheckKey]] = {}
        self.contracts = contracts_with_sources(settings, CONTRACTS)
        self.pages = {dg.AssetKey(["pages", page_name(page)]): page.__name__ for page in find_pages()}

    def all(self) -> dict[str, Node]:
        for check in self.graph.asset_check_keys:
            self.checks.setdefault(check.asset_key, []).append(check)
        keys = sorted(self.graph.materializable_asset_keys)
        return {
            name_of(key): self._node(key) for key in keys if not self._is_of_every_run(key) and not self._is_unused(key)
        }

    def of_step(self, keys: Iterable[dg.AssetKey]) -> dict[str, Node]:
        made = {key for key in keys if not self._is_of_every_run(key)}
        schemas = {contract.schema for contract in CONTRACTS.values()}
        raw = {x for key in made for x in self.graph.get(key).parent_keys if x.path[0] in schemas}
        return {name_of(key): self._node(key) for key in sorted(made | raw)}

    def _is_of_every_run(self, key: dg.AssetKey) -> bool:
        """Its history, and the page that shows it."""
        return key.path[0] == "ops" or any(
            parent.path[0] == "ops" for parent in self.graph.get(key).parent_keys - {key} if name_of(key) != PUBLICATION
        )

    def _is_unused(self, key: dg.AssetKey) -> bool:
        node = NODES.get(name_of(key))
        contract = contract_of(node) if node else None
        return contract is not None and contract not in self.contracts

    def _node(self, key: dg.AssetKey) -> Node:
        definition = self.graph.get(key).assets_def
        name, step = name_of(key), definition.op.name
        checks = {check.name: self._check(check) for check in self.checks.get(key, ())}
        own = frozenset(x.name for x in self.checks.get(key, ()) if self.graph.assets_def_for_key(x).op.name == step)
        if contract := next((x for x in CONTRACTS.values() if x.schema == key.path[0]), None):
            table = contract.table(key.path[1])
            sources = [source.name for source in registered_sources(self.settings, contract.name)]
            parts = {source: table_state(contract, table, self.settings, source) for source in sources}
            state = table_state(contract, table, self.settings)
            return Node(state, (), step, checks, own, is_raw=True, parts=parts)
        parents = tuple(sorted(name_of(parent) for parent in self.graph.get(key).parent_keys))
        if name == PUBLICATION:  # follows from everything, and is made by every run
            code = _hash([_code_of(_function_of(definition)), self._publication_key])
            return Node(code, (), step, checks, own)
        if name in NODES:
            return Node(self._dbt(NODES[name]["unique_id"]), parents, checks=checks)
        code = [_code_of(_function_of(definition)), self._settings_of(*_needs_of(_function_of(definition)))]
        if key in self.pages:
            code = [code_of(self.pages[key]), self._settings_of([], [self.pages[key]]), self._sources]
            # Pages of groups say the same under any key.
            code += [self._publication_key] if "settings.publication_key" in _read(self.pages[key])[0] else []
        rhythm = RHYTHMS.get(step)
        return Node(_hash(code), parents, step, checks, own, rhythm, self._cohorts if rhythm else "")

    # --- code

    def _dbt(self, unique_id: str) -> str:
        """Hash of a model, seed or test: its text and its macros', how it is configured, and what these refer to."""
        node = MANIFEST["nodes"][unique_id]
        facts = [node.get(x) for x in ("raw_code", "checksum", "description", "columns", "test_metadata", "contract")]
        facts.append({name: value for name, value in node["config"].items() if name != "post-hook"})
        text = json.dumps(facts, sort_keys=True, default=str) + "".join(_macros(tuple(node["depends_on"]["macros"])))
        variables = {x: self._variables[x] for x in re.findall(r"var\(\W*(\w+)", text) if x in self._variables}
        settings = {x.lower() for x in re.findall(rf"env_var\(\W*{PREFIX}(\w+)", text)}
        return _hash([text, variables, self._values(settings)])

    @cached_property
    def _variables(self) -> dict:
        from dagster_project.contracts.reading import read_yaml

        # What core unites follows from the sources: with the first one of a contract it is made anew.
        return read_yaml(REPOSITORY / "dbt" / "dbt_project.yml")["vars"] | {"contracts": self.contracts}

    def _settings_of(self, texts: Sequence[str], modules: Iterable[str]) -> dict:
        text = "".join([*texts, *_sources(*sorted(modules)).values()])
        return self._values(set(re.findall(r"settings\.([a-z_]+)", text)))

    def _values(self, names: Iterable[str]) -> dict:
        wanted = set(names) & set(Settings.model_fields) - SETTINGS_OF_RUNS
        return {name: getattr(self.settings, name) for name in sorted(wanted)}

    @cached_property
    def _publication_key(self) -> str:
        key = self.settings.publication_key
        return keyed_hash("fingerprint of the key", key.get_secret_value().encode()) if key else ""

    # --- checks

    @cached_property
    def tests(self) -> dict[dg.AssetCheckKey, str]:
        """Tests of dbt by the check that Dagster has of each."""
        found = {x: get_asset_check_key_for_test(MANIFEST, TRANSLATOR, x, project=None) for x in MANIFEST["nodes"]}
        return {key: unique_id for unique_id, key in found.items() if key}

    def _check(self, check: dg.AssetCheckKey) -> str:
        """Hash of what a check judges by; of the freshness of a source also whether it is fresh."""
        if check in self.tests:
            return self._dbt(self.tests[check])
        definition = self.graph.assets_def_for_key(check)
        if definition.op.name.startswith("expectations_"):
            judges = (suite.__name__, validation.__name__)
            table = content_hash(REPOSITORY / "expectations", [f"{name_of(check.asset_key)}.json"])
            return _hash([[code_of(x) for x in judges], self._settings_of([], judges), table])
        facts: list = [_code_of(_function_of(definition)), self._settings_of(*_needs_of(_function_of(definition)))]
        if check.name == "source_is_fresh":
            facts.append([x for x in self._stale if check.asset_key.path[1] in x])
        return _hash(facts)

    # --- data

    @cached_property
    def _states(self) -> list:
        return source_states(CONTRACTS, self.settings)

    @cached_property
    def _stale(self) -> list[str]:
        """The tables whose newest event or delivery is too old, by source."""
        return [f"{x.name}: {part.partition(':')[0]}" for x in self._states for part in x.why_stale.split("; ") if part]

    @cached_property
    def _sources(self) -> list:
        """What pages tell of the sources."""
        return [[x.name, x.contract, str(x.last_data_on), x.is_simulated] for x in self._states] + self._stale

    @cached_property
    def _cohorts(self) -> str:
        """Of each source, how many cohorts have a known end: terms in which somebody began whose first year is over."""
        store = Warehouse(self.settings)
        sources = {source.name: "not built" for source in registered_sources(self.settings)}
        if store.types("marts.mart_learner_program") and store.types("core.dim_source"):
            query = """
                select dim_source.source, count(distinct first_term_key) filter (where is_retained is not null)
                from core.dim_source
                left join marts.mart_learner_program on dim_source.source = mart_learner_program.source
                group by dim_source.source
            """
            for batch in store.batches(query):
                sources |= {name: str(count) for name, count in zip(*batch.to_pydict().values(), strict=True)}
        return ", ".join(f"{name}: {cohorts}" for name, cohorts in sorted(sources.items()))


def _hash(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True, default=str) + _software(SOFTWARE)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _software(files: tuple[str, ...]) -> str:
    return content_hash(REPOSITORY, files)


def _function_of(definition: dg.AssetsDefinition) -> FunctionType:
    compute: Any = definition.op.compute_fn
    return getattr(compute, "decorated_fn", compute)


@cache
def _code_of(function: FunctionType) -> str:
    """Hash of a function, of those of its module that it calls, and of all modules that these need."""
    texts, modules = _needs_of(function)
    return hashlib.sha256(json.dumps([texts, _sources(*sorted(modules))]).encode()).hexdigest()[:32]


def code_of(module: str) -> str:
    """Hash of a module of the package and of all modules that it imports, whatever these import included."""
    return hashlib.sha256(json.dumps(_sources(module)).encode()).hexdigest()[:32]


@cache
def _needs_of(function: FunctionType) -> tuple[tuple[str, ...], frozenset[str]]:
    """Texts of a function and of those of its module that it calls, and names of the modules that these need.

    Two steps of one module have not the same code.
    """
    texts: dict[str, str] = {}
    modules: set[str] = set()
    waiting = [function]
    while waiting:
        one = waiting.pop()
        if one.__qualname__ in texts:
            continue
        texts[one.__qualname__] = inspect.getsource(one)
        for name in _names_in(one.__code__):
            used = one.__globals__.get(name)
            if name.startswith(f"{PACKAGE}."):  # imported when it is called
                modules.add(name)
            elif isinstance(used, ModuleType):
                modules.add(used.__name__)
            elif isinstance(used, FunctionType) and used.__module__ == function.__module__:
                waiting.append(used)
            elif used is not None and getattr(used, "__module__", None) != function.__module__:
                modules.add(getattr(used, "__module__", None) or "")
    ours = {
        x for x in modules if x.startswith(f"{PACKAGE}.") and (not x.startswith(NOT_FOLLOWED) or x.endswith(CHECKS))
    }
    return tuple(texts[name] for name in sorted(texts)), frozenset(ours)


def _names_in(code: CodeType) -> set[str]:
    """Names that a function uses, those in the functions within it included."""
    return set(code.co_names).union(*(_names_in(x) for x in code.co_consts if isinstance(x, CodeType)))


@cache
def _sources(*modules: str) -> dict[str, str]:
    """Text of modules and of all that they need, by name."""
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or (name not in modules and name.startswith(NOT_FOLLOWED)):
            continue
        text, needs = _read(name)
        found[name] = text
        waiting += needs
    return dict(sorted(found.items()))


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    path = _path(module)
    text = path.read_text() if path else ""
    needs: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            needs += [node.module, *(f"{node.module}.{x.name}" for x in node.names)]
        elif isinstance(node, ast.Import):
            needs += [x.name for x in node.names if x.name.startswith(PACKAGE)]
    if module == f"{PACKAGE}.report.page":  # what pages say stands in their templates
        text += content_hash(REPOSITORY / PACKAGE / "report", ["templates"])
    return text, tuple(x for x in needs if _path(x))


@cache
def _path(module: str) -> Path | None:
    path = REPOSITORY.joinpath(*module.split("."))
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((x for x in found if x.exists()), None)


@cache
def _project_macros() -> dict[str, Mapping]:
    return {x: macro for x, macro in MANIFEST["macros"].items() if x.startswith("macro.learning_warehouse.")}


@cache
def _macros(names: tuple[str, ...]) -> list[str]:
    """Texts of the project's macros of these names, with what these use, and with what each engine puts in place."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name not in _project_macros():
            continue
        macro = _project_macros()[name]
        found[name] = macro["macro_sql"]
        waiting += macro["depends_on"]["macros"]
        waiting += [x for x in _project_macros() if x.endswith(f"__{macro['name']}")]
    return [found[name] for name in sorted(found)]
