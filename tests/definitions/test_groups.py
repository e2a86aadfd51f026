"""What is published of groups: figures 1 and 2 of the report, and what is told of small numbers."""

import pytest

from tests.definitions.university import University

# Forty learners of a master's program who start in F22. Twenty were born in 1990 (32 in the year of the start) and are
# active in F22 and in F23: retained. Twenty were born in 2000 (22) and are active in F22 only.
forty = University("forty", until="2024-03-31")
forty.given("programs", "program_id level \n msc master")
forty.given("terms", "term_id starts_on \n F22 2022-09-05 \n F23 2023-09-04")
for number in range(40):
    learner, comes_back = f"k{number}", number < 20
    forty.add("learners", learner_id=learner, birth_year=1990 if comes_back else 2000)
    forty.add("program_enrollments", learner_id=learner, first_term_id="F22")
    for term, day in (("F22", "2022-09-06"), ("F23", "2023-09-05"))[: 1 + comes_back]:
        forty.add("course_enrollments", learner_id=learner, course_id="algebra", term_id=term)
        at = f"{day}T12:{number:02}"
        forty.add("events", learner_id=learner, course_id="algebra", term_id=term, occurred_at=at)


def test_age_distribution(built):
    """
    Report p. 4: "Figure 1 Age Distribution of Degree Students on Coursera"
    """
    rows = [row for row in built.rows(forty, "degree_learner_ages") if row["learner_count"]]
    assert [row["learner_share"] for row in rows] == [0.5, 0.5]
    (young,) = [row for row in rows if "2" in row["age_band"] and "3" not in row["age_band"]]
    assert young["learner_count"] == 20


def test_terms_active_of_those_retained_and_of_the_others(built):
    """
    Report p. 5: "Figure 2 First-Year Retention Captures the Variability of Students’ Overall Terms Active"
    """
    found = {
        (row["is_retained"], row["active_term_count"]): row["learner_share"]
        for row in built.rows(forty, "terms_active")
        if row["learner_count"]
    }
    assert found == {(True, 2): 1, (False, 1): 1}


def _starters(name: str, retained: int, lost: int, graduated: int = 0) -> University:
    """Starters of F22 in one program, of whom some are there in F23 and others graduate in June."""
    university = University(name, until="2024-03-31")
    university.given("terms", "term_id starts_on \n F22 2022-09-05 \n F23 2023-09-04")
    for number in range(retained + lost):
        learner = f"k{number}"
        university.add("program_enrollments", learner_id=learner, first_term_id="F22")
        university.add("course_enrollments", learner_id=learner, course_id="algebra", term_id="F22")
        if number < retained:
            university.add("course_enrollments", learner_id=learner, course_id="algebra", term_id="F23")
    for number in range(graduated):
        learner = f"g{number}"
        university.add("program_enrollments", learner_id=learner, first_term_id="F22", completed_on="2023-06-30")
        university.add("course_enrollments", learner_id=learner, course_id="algebra", term_id="F22")
    return university


nine_in_all = _starters("nine_in_all", retained=9, lost=0)
ten_of_each = _starters("ten_of_each", retained=10, lost=10)
nine_of_each = _starters("nine_of_each", retained=9, lost=9)
nine_lost = _starters("nine_lost", retained=31, lost=9)
nine_kept = _starters("nine_kept", retained=9, lost=31)
fifteen_graduates = _starters("fifteen_graduates", retained=25, lost=20, graduated=15)
four_graduates = _starters("four_graduates", retained=36, lost=20, graduated=4)
mostly_graduates = _starters("mostly_graduates", retained=8, lost=10, graduated=12)


def told(built, university: University) -> dict:
    """The row of the cohort; of a group too small to have one, nothing."""
    columns = ("starter_count", "retained_count", "retained_share", "retained_share_at_least", "retained_share_at_most")
    rows = built.rows(university, "program_retention", first_term_starts_on="2022-09-05")
    assert len(rows) <= 1
    return {name: rows[0][name] for name in columns} if rows else dict.fromkeys(columns)


def test_a_group_is_shown_from_ten_learners(built):
    """
    Definitions, Who may see what: "Small numbers: a group is shown from 10 learners."
    """
    assert set(told(built, nine_in_all).values()) == {None}
    row = told(built, ten_of_each)
    assert (row["starter_count"], row["retained_count"], row["retained_share"]) == (20, 10, 0.5)


def test_where_both_sides_are_small_only_the_number_is_shown(built):
    """
    Definitions, Who may see what: "where both have, only n is shown."
    """
    row = told(built, nine_of_each)
    assert row.pop("starter_count") == 18
    assert set(row.values()) == {None}


def test_a_small_outcome_or_complement_leaves_a_bound(built):
    """
    Definitions, Who may see what: "Where an outcome or its complement has 0–9 of them, the share is printed as a bound
    in steps of 10 ("≤ 20 %", "≥ 80 %") and the count is withheld"
    """
    # 9 of 40 are lost: 77.5 % stay, and the bound below it in steps of ten is 70 %. 9 of 40 stay, 22.5 %: at most 30 %.
    lost, kept = told(built, nine_lost), told(built, nine_kept)
    assert lost["retained_share_at_least"] == pytest.approx(0.7)
    assert kept["retained_share_at_most"] == pytest.approx(0.3)
    for row in (lost, kept):
        assert (row["starter_count"], row["retained_count"], row["retained_share"]) == (40, None, None)


def test_beside_the_share_retained_stands_that_without_graduates(built):
    """
    Definitions, Terms and programs: "learners who completed the program by then are not lost. Headline: retained or
    graduated, and beside it the figure without graduates; is_graduated flags them."
    """

    def row(university: University) -> dict:
        rows = built.rows(university, "program_retention", level="program_term")
        assert len(rows) == 1
        return rows[0]

    # 25 came back and 15 graduated, 40 of 60; without the 15 it is 25 of 45.
    told = row(fifteen_graduates)
    assert (told["retained_count"], told["retained_share"]) == (40, 40 / 60)
    assert (told["graduated_count"], told["graduated_share"]) == (15, 15 / 40)
    assert (told["retained_without_graduates_count"], told["retained_without_graduates_share"]) == (25, 25 / 45)
    assert told["retained_without_graduates_share_told"] == "56 %"
    assert told["withheld_because"] is None
    # 4 of 40 are fewer than ten. Had nine graduated, it would be 31 of 51, 60.8 %; had nobody, 40 of 60, 66.7 %.
    told = row(four_graduates)
    assert (told["retained_share"], told["graduated_count"]) == (40 / 60, None)
    assert (told["retained_without_graduates_count"], told["retained_without_graduates_share"]) == (None, None)
    assert told["retained_without_graduates_share_at_least"] == 31 / 51
    assert told["retained_without_graduates_share_at_most"] == 40 / 60
    assert told["retained_without_graduates_share_told"] == "60 to 67 %"
    assert told["withheld_because"] == "graduated: fewer than 10 with or without it"
    # Of 20 retained 12 graduated and 8 did not. Of the 30 these may be none, of 10, to nine, of 19, 47.4 %.
    told = row(mostly_graduates)
    assert (told["retained_share"], told["graduated_count"]) == (20 / 30, None)
    assert told["retained_without_graduates_share_at_least"] == 0
    assert told["retained_without_graduates_share_at_most"] == 9 / 19
    assert told["retained_without_graduates_share_told"] == "0 to 48 %"
    # Nobody tells who completes the program: there is nothing to leave out, and nothing is withheld.
    told = row(ten_of_each)
    assert (told["retained_share"], told["withheld_because"]) == (0.5, None)
    assert {value for name, value in told.items() if "graduate" in name} == {None}


def test_reporting_holds_no_single_learners(built):
    """
    Definitions, Who may see what: "reporting holds groups; lists of single learners (whom to call, skills of one
    learner, top learners) stand in a schema of their own, learners, documented as personal."
    """
    columns = built.catalog("reporting")
    assert {"program_retention"} <= columns.keys()
    personal = {table for table, names in columns.items() if names & {"learner_key", "learner_id"}}
    assert personal == set()
    assert {"top_learners", "learner_skills", "call_list"} <= built.catalog("learners").keys()
