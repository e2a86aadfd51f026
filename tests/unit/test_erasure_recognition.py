"""An erased learner is recognised however their id and name are written, and nothing else is."""

import json

import pytest

from dagster_project.ingest.erasure import request_erasure
from dagster_project.ingest.recognition import Erased
from dagster_project.privacy.erasure.history import mask_records
from tests.unit.landing_files import OULAD, PERSONAL, Bench, oulad_files

HEADER = "person,full_name,email,visits\n"
BRIEN = 'O\'Brien,"Doe, Jane",Jane.Doe@Example.org,3\n'
ZOE = "Zoë 7,Zoë Öst,zoe@example.org,4\n"
OTHERS = 'O\'Briend,"Doe, Janet",janet.doe@example.org,5\nBrien,Jane,jane@example.org,6\n'
REFUSED = (
    "O'Brien,Nobody Known,,3\n"
    'x-1,"Doe, Jane",,3\n'
    "x-2,Some Body,JANE.DOE@EXAMPLE.ORG,3,4\n"
    "x-3,Zo\\u00eb \\u00d6st,,3\n"
    "Zoë 7,Some Body,,3\n"
)
KEPT = "x-4,O'Briend,,3\n"


def erased(folder, learner: str) -> tuple[Bench, Erased]:
    """A warehouse from which a learner is gone, and the learner as what is told of runs is searched for them."""
    bench = Bench(folder, PERSONAL)
    bench.deliver("people.csv", (HEADER + BRIEN + ZOE + OTHERS + REFUSED + KEPT).encode())
    bench.load("people")
    request_erasure(bench.settings, bench.contract, "here", learner_id=learner)
    bench.load("people")
    return bench, Erased.of(bench.settings, "here")


@pytest.fixture(scope="module")
def brien(tmp_path_factory):
    return erased(tmp_path_factory.mktemp("brien"), "O'Brien")


@pytest.fixture(scope="module")
def zoe(tmp_path_factory):
    return erased(tmp_path_factory.mktemp("zoe"), "Zoë 7")


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("numbered"), OULAD)
    for name, data in oulad_files().items():
        bench.deliver(name, data)
    bench.load("studentInfo")
    request_erasure(bench.settings, bench.contract, "here", learner_id="11391")
    bench.load("studentInfo")
    return bench, Erased.of(bench.settings, "here")


def masked(found: tuple[Bench, Erased], text: str | bytes, name: str = "run.err", folder: str = "told") -> str | bytes:
    """What a file of artifacts holds after `mask_records`."""
    bench, learner = found
    path = bench.settings.artifacts_dir / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    mask_records(bench.settings, learner)
    return path.read_bytes().decode() if isinstance(text, str) else path.read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("row of O'Brien, refused\n", "row of *******, refused\n"),
        ("row of O'Brien's friend\n", "row of *******'s friend\n"),
        ("Could not convert string 'O'Brien' to INT32.\n", "Could not convert string '*******' to INT32.\n"),
        ("where person = 'O''Brien' and x\n", "where person = '********' and x\n"),
        ("['O\\'Brien', \"O'Brien\"]\n", "['********', \"*******\"]\n"),
        ('b"O\'Brien,1\\n"\n', 'b"*******,1\\n"\n'),
        ("<td>O&#x27;Brien</td><td>O&#39;Brien</td>\n", "<td>************</td><td>***********</td>\n"),
        ("GET /who?id=O%27Brien&page=2\n", "GET /who?id=*********&page=2\n"),
        ("O'Briend, Mc-O'Brien and Brien stay\n", "O'Briend, Mc-O'Brien and Brien stay\n"),
        ('3,"Doe, Jane",7\n', '3,"*********",7\n'),
        ("3;Doe, Jane;7\n", "3;*********;7\n"),
        ("mail to Doe, Jane of the law school\n", "mail to ********* of the law school\n"),
        ("DOE, JANE\n", "*********\n"),
        ('"Doe, Janet" stays, as does Jane\n', '"Doe, Janet" stays, as does Jane\n'),
        ("sent to jane.doe@example.org.\n", "sent to ********************.\n"),
        ("Jane.Doe@Example.org and xjane.doe@example.org\n", "******************** and xjane.doe@example.org\n"),
        ("mailto:jane.doe%40example.org\n", "mailto:**********************\n"),
    ],
)
def test_apostrophes_commas_and_addresses_however_they_are_written(brien, text, expected):
    assert masked(brien, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"who": "Zo\\u00eb \\u00d6st"}\n', f'{{"who": "{"*" * 17}"}}\n'),
        ('{"text": "{\\"who\\": \\"Zo\\\\u00eb 7\\"}"}\n', f'{{"text": "{{\\"who\\": \\"{"*" * 11}\\"}}"}}\n'),
        ('log: {"who": "Zo\\u00eb 7", \n', f'log: {{"who": "{"*" * 10}", \n'),
        ("Zoë 7 and Zoë Öst, Zoë Östlund\n", "****** and *********, Zoë Östlund\n"),
        ("Zoe\u0308 O\u0308st\n", f"{'*' * 11}\n"),
        ("<td>Zo&euml; 7</td>\n", "<td>**********</td>\n"),
        ("b'Zo\\xc3\\xab 7,1'\n", f"b'{'*' * 12},1'\n"),
        ("'Zo\\xeb 7'\n", f"'{'*' * 8}'\n"),
        ("{'who': 'Zo\\u00eb 7'}\n", f"{{'who': '{'*' * 10}'}}\n"),
    ],
)
def test_names_that_are_not_ascii_however_they_are_escaped(zoe, text, expected):
    assert masked(zoe, text) == expected


def test_a_name_in_latin_1_is_recognised(zoe):
    assert masked(zoe, "3;Zoë Öst;ü\n".encode("latin-1")) == b"3;*******;\xfc\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Loaded 11391 rows in 11391 ms\n", "Loaded 11391 rows in 11391 ms\n"),
        ("11391\n", "11391\n"),
        ("<td>11391</td> of 11,391\n", "<td>11391</td> of 11,391\n"),
        ("row_count: 11391, learner_count=11391\n", "row_count: 11391, learner_count=11391\n"),
        ("here:11391:AAA, there:11391, nowhere:11391\n", "here:*****:AAA, there:11391, nowhere:11391\n"),
        ("id_student=11391 'learner_id': 11391\n", "id_student=***** 'learner_id': *****\n"),
        ("Could not convert '11391' or \"11391\"\n", "Could not convert '*****' or \"*****\"\n"),
        (
            '{"row_count": 11391, "id_student": 11391, "who": "11391", "11391": [11391, "11391", 11391.0]}\n',
            '{"row_count": 11391, "id_student": 11391, "who": "*****", "*****": [11391, "*****", 11391.0]}\n',
        ),
        ('{"n": 11391}\n{"message": "Loaded 11391 rows"}\n', '{"n": 11391}\n{"message": "Loaded 11391 rows"}\n'),
        ('{"path": ["11391"], "n": 1}\n', '{"path": ["*****"], "n": 1}\n'),
    ],
)
def test_a_number_is_masked_where_it_is_given_as_an_id_and_stays_where_it_counts(numbered, text, expected):
    assert masked(numbered, text) == expected


def test_json_over_several_lines_is_read_as_a_whole(numbered):
    value = {"rows": 11391, "examples": ["11391", "113911"], "learner_id": 11391}
    told = masked(numbered, json.dumps(value, indent=1), "told.json")
    assert told == json.dumps(value | {"examples": ["*****", "113911"]}, indent=1)


@pytest.mark.parametrize(
    ("folder", "name", "text"),
    [
        ("models/at_risk/campus", "model.txt", "tree\nleaf_value='11391' 0.5\nid_student=11391\n"),
        ("models/at_risk", "registry.json", '{"learners": "11391"}'),
        ("skills/campus/algebra/1", "bank.json", '{"item": "11391"}'),
        ("compiled_marts", "mart.sql", "select '11391' as x\n"),
        ("told", "stored.pickle", b"\x80\x04\x00\x00'11391'."),
    ],
)
def test_models_item_banks_and_what_programs_stored_stay_byte_for_byte(numbered, folder, name, text):
    assert masked(numbered, text, name, folder) == text


@pytest.mark.parametrize(("learner", "left"), [("O'Brien", [4, 5]), ("Zoë 7", [1, 2, 3])])
def test_refused_rows_go_with_the_learner_whose_they_are(tmp_path, learner, left):
    """Left are the rows, numbered as in REFUSED, of all others, and KEPT."""
    bench, _ = erased(tmp_path, learner)
    rows = REFUSED.encode().splitlines(True)
    assert [data for _, _, data in bench.quarantine("people")] == [*(rows[i - 1] for i in left), KEPT.encode()]
