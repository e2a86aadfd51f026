"""Benchmarks do not follow single members nor tell of few organizations, and banks stay frozen."""

from datetime import date
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from dagster_project.analyses.skills.banks import StoredBank, latest_bank, save_bank, unused_version
from dagster_project.base.errors import StoreError
from dagster_project.report import skill_benchmarks
from dagster_project.settings import Settings
from dagster_project.stats.item_response.abilities import ability_likelihood
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.skills.benchmarks import (
    COMPARISONS,
    TELLS_OF_FEW,
    TRAITS,
    benchmark,
    due_organizations,
    tells_of_few,
)
from dagster_project.stats.skills.gap import recommend


def members(**sizes):
    return pd.DataFrame([(o, k) for o, ks in sizes.items() for k in ks], columns=["organization", "learner"])


def test_a_benchmark_is_computed_again_after_a_month_or_ten_members_only():
    computed = pd.Series({"still": date(2025, 3, 20), "moving": date(2025, 3, 20), "old": date(2025, 3, 1)})
    before = members(still=range(20), moving=range(20), old=range(20))
    now = members(still=range(1, 21), moving=range(5, 25), old=range(20), new=range(12))
    assert due_organizations(date(2025, 3, 31), now, before, computed) == {"moving", "old", "new"}


def organizations(*kinds):
    """Organizations of 20 members: (how many, industry, country, size band) of each kind."""
    rows = [traits for count, *traits in kinds for _ in range(count)]
    return pd.DataFrame(rows, [f"O{k:02d}" for k in range(len(rows))], columns=list(TRAITS), dtype=object)


def compared(traits):
    """All comparisons of all organizations, none withheld yet."""
    rows = [(organization, comparison, None) for organization in traits.index for comparison in COMPARISONS]
    return pd.DataFrame(rows, columns=["organization", "comparison", "reason"])


def withheld(traits, n=20, organization="O00"):
    sizes = pd.DataFrame({"organization": traits.index, "n": n})
    rows = compared(traits)
    few = rows[tells_of_few(sizes, traits, rows)]
    return few.loc[few["organization"] == organization, "comparison"].tolist()


def test_the_comparisons_are_all_sets_of_traits_the_widest_first():
    assert list(COMPARISONS) == [
        "all", "industry", "country", "size_band", "industry_country", "industry_size_band", "country_size_band",
        "industry_country_size_band",
    ]  # fmt: skip


def test_a_comparison_that_leaves_few_of_a_wider_one_is_withheld():
    """Of six other retailers five are Spanish: less those, retail is one organization. With five abroad it is enough.

    The size is unknown, so that only all, industry, country and both of them are compared.
    """
    others = [(5, "energy", "ES", None), (5, "energy", "IN", None)]
    one_abroad = organizations((6, "retail", "ES", None), (1, "retail", "IN", None), *others)
    assert withheld(one_abroad) == ["industry_country"]
    assert withheld(organizations((6, "retail", "ES", None), (5, "retail", "IN", None), *others)) == []
    # Five retailers abroad are not enough where one of them has more than half of their members: 90 of 170.
    five_abroad = organizations((6, "retail", "ES", None), (5, "retail", "IN", None), *others)
    n = np.full(len(five_abroad), 20)
    n[6] = 90
    assert withheld(five_abroad, n) == ["industry_country"]


def test_a_single_organization_outside_an_industry_is_not_told_by_what_all_are_more():
    """All less retail, and Spain less its retail, are the one of energy. All less Spain are five."""
    traits = organizations((7, "retail", "ES", None), (5, "retail", "IN", None), (1, "energy", "ES", None))
    assert withheld(traits) == ["industry", "industry_country"]


@pytest.mark.parametrize("seed", range(6))
def test_no_sum_of_comparisons_is_about_fewer_than_five(seed):
    """Every set of one to four others against what the told comparisons span, organization by organization."""
    rng = np.random.default_rng(seed)
    traits = pd.DataFrame({trait: rng.choice(["a", "b"], 15, p=[0.6, 0.4]) for trait in TRAITS}, dtype=object)
    sizes = pd.DataFrame({"organization": traits.index, "n": 20})
    rows = compared(traits)
    member = {
        (k, comparison): np.array(
            [o != k and all(traits.loc[o, t] == traits.loc[k, t] for t in shared) for o in range(15)]
        )
        for k in range(15)
        for comparison, shared in COMPARISONS.items()
    }
    rows.loc[
        [member[k, c].sum() < 5 for k, c in zip(rows["organization"], rows["comparison"], strict=True)], "reason"
    ] = "few"
    few = tells_of_few(sizes, traits, rows)
    told = rows[rows["reason"].isna() & ~few]
    sets = [np.isin(np.arange(15), chosen) for size in range(1, 5) for chosen in combinations(range(15), size)]
    for k, of in told.groupby("organization"):
        span = np.array([member[k, comparison] for comparison in of["comparison"]], float)
        projected = np.array(sets, float) @ np.linalg.pinv(span) @ span
        assert not np.isclose(projected, sets, atol=1e-7).all(axis=1).any()
    assert few.any()
    assert (told["comparison"] != "all").any()


def test_combined_groups_have_labels_a_minimum_and_a_reason():
    """Twelve organizations of 12: six Spanish retailers, five Indian ones, one that names no country."""
    traits = organizations((6, "retail", "ES", "1-50"), (5, "retail", "IN", "1-50"), (1, "retail", None, "1-50"))
    items = pd.DataFrame({"item": range(6), "slope": 1.0, "intercept": np.linspace(-1, 1, 6)})
    bank = ItemBank(items, pd.DataFrame({"group": ["all"], "mean": [0.0], "sd": [1.0]}))
    rng = np.random.default_rng(0)
    person, item = np.repeat(np.arange(144), 6), np.tile(np.arange(6), 144)
    likelihood = ability_likelihood(bank, person, item, rng.integers(0, 2, 864))
    nothing = pd.DataFrame(index=range(144))
    rows, _ = benchmark(likelihood, np.repeat(traits.index, 12), nothing, traits, draws=50)
    assert rows.groupby("organization").size().eq(8).all()
    of = rows.set_index(["organization", "comparison"])
    spanish, indian, unnamed = (of.loc[name] for name in ("O00", "O06", "O11"))
    both = spanish.loc["industry_country"]
    assert both["comparison_label"] == "retail, ES"
    assert both[[f"compared_{trait}" for trait in TRAITS]].tolist() == ["retail", "ES", None]
    assert both["organization_count"] == 5
    # Everybody is in retail, so that the Spanish retailers are the Spanish: the same figure tells nothing new.
    assert both["members_percentile"] == spanish.loc["country", "members_percentile"]
    assert indian.loc["industry_country", "withheld_reason"].startswith("4 other organizations to compare with")
    assert unnamed.loc["industry_country", "withheld_reason"] == "industry or country not known"
    assert unnamed.loc["industry_size_band", "organization_count"] == 11
    # Less its own country, a Spanish one is left with six others: enough. With two more in Spain, four would be left.
    traits.loc[["O06", "O07"], "country"] = "ES"
    rows, _ = benchmark(likelihood, np.repeat(traits.index, 12), nothing, traits, draws=50)
    row = rows.set_index(["organization", "comparison"]).loc[("O00", "country")]
    assert row["withheld_reason"] == TELLS_OF_FEW
    assert row["organization_count"] == 7
    assert pd.isna(row[["members_percentile", "organization_percentile", "percentile_low", "band"]]).all()


def test_a_frozen_bank_is_never_changed_and_never_from_the_future(tmp_path):
    settings = Settings(home=tmp_path)
    items = pd.DataFrame({"item": ["q"], "slope": [1.0]})
    for version, day in (("2025-01-31", date(2025, 1, 31)), ("2025-03-02", date(2025, 3, 2))):
        save_bank(settings, "uni", "uni:S/1", StoredBank(version, day, day, 49, {"iterations": 3}, {"items": items}))
    assert latest_bank(settings, "uni", "uni:S/1", date(2025, 3, 1)).version == "2025-01-31"
    assert latest_bank(settings, "uni", "uni:S/1", date(2025, 3, 2)).facts == {"iterations": 3}
    assert latest_bank(settings, "uni", "uni:S/1", date(2024, 12, 31)) is None
    assert unused_version(settings, "uni", "uni:S/1", date(2025, 3, 2)) == "2025-03-02.1"
    assert unused_version(settings, "uni", "uni:S/1", date(2025, 3, 3)) == "2025-03-03"
    with pytest.raises(StoreError, match="never changed"):
        save_bank(settings, "uni", "uni:S/1", StoredBank("2025-03-02", date(2025, 3, 2), date(2025, 3, 2), 49))


def test_a_recommended_course_suits_the_members_has_a_gain_and_is_not_taken_yet():
    benchmarks = pd.DataFrame(
        {"organization": ["low", "high"], "mean_ability": [-0.2, 1.0], "members_percentile": [40.0, 80.0]}
    ).assign(band="emerging", member_count=20)
    courses = ["good", "too hard", "taken", "no gain"]
    items = pd.DataFrame({"course": courses, "slope": 1.0, "intercept_1": [0.5, -4.0, 0.5, 0.5]})
    gains = pd.DataFrame({"course": courses, "gain_low": 0.1, "gain_high": 0.5, "shrunken_gain": 0.3, "is_open": True})
    gains.loc[3, ["gain_high", "shrunken_gain"]] = -0.1
    completed = pd.DataFrame({"organization": ["low"], "course": ["taken"], "members": [15]})
    nobody = completed.head(0)
    found = recommend(benchmarks, items, gains, completed, nobody)
    assert found[["organization", "rank", "course"]].values.tolist() == [["low", 1, "good"]]


def test_where_no_course_suits_one_row_says_why():
    benchmarks = pd.DataFrame({"organization": ["first", "second"], "mean_ability": 0.0, "members_percentile": 40.0})
    benchmarks = benchmarks.assign(band="emerging", member_count=20)
    items = pd.DataFrame({"course": ["too hard", "too easy"], "slope": 1.0, "intercept_1": [-4.0, 4.0]})
    gains = pd.DataFrame({"course": items["course"], "gain_low": 0.1, "gain_high": 0.5, "shrunken_gain": 0.3})
    gains["is_open"] = True
    nobody = pd.DataFrame({"organization": [], "course": [], "members": []})
    found = recommend(benchmarks, items, gains, nobody, nobody)
    assert found[["organization", "rank"]].values.tolist() == [["first", 1], ["second", 1]]
    assert found["course"].isna().all()
    assert found["reason"].str.startswith("no course that the members may").all()
    found = recommend(benchmarks, items, gains.assign(gain_high=-0.1), nobody, nobody)
    assert found["reason"].tolist() == ["no course with a known gain"] * 2


def test_a_course_of_a_degree_is_for_those_whom_its_program_admitted():
    benchmarks = pd.DataFrame({"organization": ["low"], "mean_ability": [-0.2], "members_percentile": [40.0]})
    benchmarks = benchmarks.assign(band="emerging", member_count=40)
    courses = ["open", "many", "few"]
    items = pd.DataFrame({"course": courses, "slope": 1.0, "intercept_1": 0.5})
    gains = pd.DataFrame({"course": courses, "gain_low": 0.1, "gain_high": 0.5, "shrunken_gain": 0.3})
    gains["is_open"] = gains["course"] == "open"
    admitted = pd.DataFrame({"organization": "low", "course": ["many", "few"], "members": [20, 9]})
    completed = pd.DataFrame({"organization": ["low"] * 2, "course": ["open", "many"], "members": [4, 8]})
    found = recommend(benchmarks, items, gains, completed, admitted).set_index("course")
    assert found.index.tolist() == ["open", "many"]
    assert found["admitted_share"].tolist() == [1.0, 0.5]
    assert found["not_taken_share"].tolist() == pytest.approx([0.9, 0.3])


def test_the_page_of_a_source_without_employers_says_so():
    class Empty:
        def read(self, table):
            return pd.DataFrame({"is_shown": pd.Series(dtype=bool), "organization_key": pd.Series(dtype=str)})

    assert "No organization has members" in skill_benchmarks.make_page(Empty())


def test_the_map_colours_clear_places_only_and_shows_nothing_of_hidden_ones():
    figures = ["organization_percentile", "percentile_low", "percentile_high"]
    rows = pd.DataFrame([[90.0, 80, 97], [60, 10, 95], [np.nan] * 3], columns=figures)
    rows = rows.assign(organization_name=["A", "B", "C"], is_shown=[True, True, False], skill_name="SQL")
    rows = rows.assign(organization_key="uni:" + rows["organization_name"], skill_key="uni:S", comparison="all")
    rows = rows.assign(industry="retail", country="ES", size_band="1-50", member_count=20.0, computed_on="2025-03-31")
    rows = rows.assign(band=["cutting-edge", "not yet clear", None], withheld_reason=None, members_percentile=70.0)
    rows = rows.assign(first_course_name=None, second_course_name=None, third_course_name=None)

    class Made:
        def read(self, table):
            return rows

    page = skill_benchmarks.make_page(Made())
    table = page[page.index('<table class="map">') : page.index("</table>", page.index('<table class="map">'))]
    assert '<a href="#org-uni-A">A</a></td><td>90\u00a0±\u00a08</td><td style="background:#b9dccb">90</td>' in table
    assert '<a href="#org-uni-B">B</a></td><td>60\u00a0±\u00a042</td>' in table
    assert '<td class="muted" title="10 to 95">60</td>' in table
    assert "uni-C" not in page


def test_the_map_is_ordered_by_all_places_the_surer_ones_weighing_more():
    """A: 90 ± 2 and 10 ± 40, weights 1/4 and 1/1600: 89.8. B: 85 ± 5 and 86 ± 5: 85.5. Of plain means B's is higher."""
    places = pd.DataFrame(
        [["a", 90.0, 88, 92], ["a", 10.0, 0, 80], ["b", 85.0, 80, 90], ["b", 86.0, 81, 91]],
        columns=["organization_key", "organization_percentile", "percentile_low", "percentile_high"],
    )
    found = skill_benchmarks._over_all_skills(places)
    assert found["place"].round(1).to_dict() == {"a": 89.8, "b": 85.5}
    assert found["error"].round(1).to_dict() == {"a": 2.0, "b": 3.5}
