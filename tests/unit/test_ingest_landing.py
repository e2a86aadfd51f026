"""Landing places: which files belong to a table, and when their content is the same."""

import zipfile

import pytest

from dagster_project.ingest import landing
from dagster_project.ingest.landing import LandingError, content_of, describe_missing, find_files
from dagster_project.ingest.records import BrokenFile
from tests.unit.landing_files import CAMPUS, Bench, gzipped, zipped

DATA = b"learner_id,country\n1,NO\n"


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def names(bench, place=None):
    return [file.name for file in find_files(bench.contract.table("learners"), place or bench.landing, bench.settings)]


def content_hashes(bench, place):
    hashes = []
    for file in find_files(bench.contract.table("learners"), place, bench.settings):
        bench.settings.temp_dir.mkdir(parents=True, exist_ok=True)
        with content_of(file, bench.settings.temp_dir, bench.settings) as content:
            assert content.path.read_bytes() == DATA
            hashes.append(content.content_hash)
    return hashes


def test_zip_folder_and_gzip_are_the_same_delivery(bench, tmp_path):
    plain, packed, in_folder = tmp_path / "plain", tmp_path / "packed", tmp_path / "in_folder"
    for folder in (plain, packed, in_folder):
        (folder / "export").mkdir(parents=True)
    (plain / "export/learners.csv").write_bytes(DATA)
    (packed / "export/learners.csv.gz").write_bytes(gzipped(DATA))
    zipped(in_folder / "export.zip", {"export/learners.csv": DATA})
    places = [plain, packed, in_folder, zipped(tmp_path / "all.zip", {"export/learners.csv.gz": gzipped(DATA)})]
    assert [names(bench, place) for place in places] == [["export/learners.csv"]] * 4
    assert len({content_hash for place in places for content_hash in content_hashes(bench, place)}) == 1


def test_default_patterns_hold_in_any_folder_and_match_no_other_table(bench):
    for name in (
        "learners.csv",
        "a/learners-2024.csv",
        "learners/part1.parquet",
        "learners_old.csv",
        "my-learners.csv",
    ):
        bench.deliver(name, DATA)
    for name in (".learners.csv", "__MACOSX/learners.csv", "a/.hidden/learners.csv", "learners.csv.part"):
        bench.deliver(name, DATA)
    assert names(bench) == ["a/learners-2024.csv", "learners.csv", "learners/part1.parquet"]


def test_contract_patterns_replace_the_default(tmp_path):
    bench = Bench(
        tmp_path, CAMPUS.replace("key: [learner_id]}", 'key: [learner_id], files: ["people/*.csv", "l?.csv"]}')
    )
    for name in ("learners.csv", "people/x.csv", "a/people/y.csv", "people/z/q.csv", "l1.csv", "l12.csv"):
        bench.deliver(name, DATA + name.encode())
    assert names(bench) == ["a/people/y.csv", "l1.csv", "people/x.csv"]


def test_two_files_of_one_name_are_an_error_unless_they_are_equal(bench):
    zipped(bench.landing / "monday.zip", {"learners.csv": DATA})
    zipped(bench.landing / "tuesday.zip", {"learners.csv": DATA})
    assert names(bench) == ["learners.csv"]
    zipped(bench.landing / "tuesday.zip", {"learners.csv": DATA + b"2,SE\n"})
    with pytest.raises(LandingError, match=r"monday\.zip.*tuesday\.zip.*'learners\.csv', with different content"):
        names(bench)


def test_stored_hash_sees_a_change_that_size_and_time_do_not_show(bench, tmp_path):
    path = bench.deliver("learners.csv", DATA)
    (before,) = find_files(bench.contract.table("learners"), bench.landing, bench.settings)
    first, status = before.stored_hash(), path.stat()
    path.write_bytes(DATA.replace(b"NO", b"SE"))
    landing.os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert before.stored_hash() != first


def test_stored_hash_of_a_member_ignores_the_rest_of_the_zip(bench, tmp_path):
    one = zipped(tmp_path / "one.zip", {"learners.csv": DATA})
    two = zipped(tmp_path / "two.zip", {"other.txt": b"x" * 100, "learners.csv": DATA})
    changed = zipped(tmp_path / "three.zip", {"learners.csv": DATA.replace(b"NO", b"SE")})
    hashes = [
        find_files(bench.contract.table("learners"), place, bench.settings)[0].stored_hash()
        for place in (one, two, changed)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_zip_bomb_and_oversized_file_are_refused(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(landing, "RATIO_MATTERS_FROM", 1 << 20)
    data = DATA + b"1,NO\n" * 2_000_000
    places = [zipped(tmp_path / "bomb.zip", {"learners.csv": data})]
    (tmp_path / "gz").mkdir()
    (tmp_path / "gz/learners.csv.gz").write_bytes(gzipped(data))
    places.append(tmp_path / "gz")
    bench.settings.temp_dir.mkdir(parents=True)
    for place in places:
        (file,) = find_files(bench.contract.table("learners"), place, bench.settings)
        with (
            pytest.raises(BrokenFile, match="more than 200 times as large"),
            content_of(file, bench.settings.temp_dir, bench.settings),
        ):
            pass
        roomy = bench.settings.model_copy(update={"maximum_file_bytes": 5_000_000, "maximum_compression_ratio": 10_000})
        with (
            pytest.raises(BrokenFile, match="larger than 5,000,000 bytes"),
            content_of(file, bench.settings.temp_dir, roomy),
        ):
            pass
    assert list(bench.settings.temp_dir.iterdir()) == []


def test_full_disk_is_told_before_extracting(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(landing, "FREE_DISK_RESERVE", 1 << 60)
    (file,) = find_files(
        bench.contract.table("learners"), zipped(tmp_path / "x.zip", {"learners.csv": DATA}), bench.settings
    )
    bench.settings.temp_dir.mkdir(parents=True)
    with (
        pytest.raises(LandingError, match=r"24 bytes are needed to extract it and [\d,]+ are free"),
        content_of(file, bench.settings.temp_dir, bench.settings),
    ):
        pass


def test_member_that_points_outside_of_the_zip_is_refused(bench, tmp_path):
    (file,) = find_files(
        bench.contract.table("learners"), zipped(tmp_path / "x.zip", {"../../learners.csv": DATA}), bench.settings
    )
    assert file.defect == "its name points outside of the zip"


def test_encrypted_member_is_refused(bench, tmp_path):
    path = zipped(tmp_path / "x.zip", {"learners.csv": DATA})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    assert zipfile.ZipFile(path).infolist()[0].flag_bits & 1
    (file,) = find_files(bench.contract.table("learners"), path, bench.settings)
    bench.settings.temp_dir.mkdir(parents=True)
    with pytest.raises(BrokenFile, match="it is encrypted"), content_of(file, bench.settings.temp_dir, bench.settings):
        pass


def test_absent_landing_place_and_other_kinds_of_file_are_errors(bench, tmp_path):
    with pytest.raises(LandingError, match="no such landing place"):
        names(bench, tmp_path / "nowhere")
    with pytest.raises(LandingError, match=r"expected a folder or a \.zip"):
        names(bench, bench.deliver("learners.csv", DATA))


def test_missing_table_is_described_by_what_was_looked_for_and_found(bench):
    bench.deliver("students.csv", DATA)
    text = describe_missing(bench.contract.table("learners"), bench.landing)
    assert text.startswith("looked for learners.csv, learners.parquet, learners-*.csv")
    assert text.endswith("found students.csv")
