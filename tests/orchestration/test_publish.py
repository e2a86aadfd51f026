"""What Dagster records of a publication."""

import dagster as dg
import duckdb

from dagster_project.defs.publish.assets import learning_warehouse
from dagster_project.defs.resources import WarehouseResource

INNER, OUTER = "an inner key, long enough: 0123456789", "a publication key, long enough: 0123456789"


def test_no_key_is_in_what_dagster_records_of_a_run(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_PSEUDONYM_KEY", INNER)
    monkeypatch.setenv("LEARNING_WAREHOUSE_PUBLICATION_KEY", OUTER)
    settings.home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("""
            create schema core; create schema marts;
            create table core.dim_learner as
                select 'uni' as source, 'uni:ann' as learner_key, 'ann' as learner_id, 1 as learner_count;
            create table marts.mart_learner_course as select source, learner_key from core.dim_learner;
        """)
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        result = dg.materialize([learning_warehouse], resources={"warehouse": WarehouseResource()}, instance=instance)
    assert result.success
    with duckdb.connect(settings.published_dir / "learning_warehouse.duckdb", read_only=True) as connection:
        assert connection.execute("select count(*) from core.dim_learner where learner_id = 'ann'").fetchall() == [(0,)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert [path for path in files if any(key.encode() in path.read_bytes() for key in (INNER, OUTER))] == []
