"""An online university imagined on its own, with the abilities of its learners known.

It stands here so that skills are judged by more than the simulator that they were developed on: it was written from a
list of what such a university has, and shares no code with `dagster_project`. Its numbers are not tuned to a result; a
change of one is explained in its commit, with the figures before and after.

- Everybody answers the same 14 questions on the day of joining, three or four for each of four skills, and takes
  courses after that. Abler learners choose harder courses. Some stay for years.
- A course has two or three short quizzes. The last one completes it, and the completion bears the day of that quiz.
- On the day after a completion ability in the course's skill has grown by the gain of the course.
- Employers have 10 to 200 members, some fewer; their means differ.
- As on any platform: quizzes that are taken again (with a better result, because the questions are known), a bonus
  question that hardly anybody tries, courses left half way, and one course of a partner whose learners have never
  answered anything else, not even the questions on joining.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

LEARNERS = 5600
SKILLS = ("analysis", "coding", "design", "finance")
FIRST_DAY = int(np.datetime64("2020-01-01").astype(int))
LAST_DAY = int(np.datetime64("2024-12-31").astype(int))
"""Days since 1970: of the first joining, and of the last answer that is recorded."""
NEVER = np.iinfo(np.int64).max

# Abilities at joining, in logits: what a learner brings to every skill, to one skill, and what their employer adds.
GENERAL_SD, SKILL_SD = 0.6, 0.65
EMPLOYER_SD, EMPLOYER_SKILL_SD = 0.4, 0.15

EMPLOYERS, EMPLOYER_SIZES = 36, (10, 200)
SMALL_EMPLOYERS, SMALL_EMPLOYER_SIZES = 20, (2, 9)

CHECK = "check"
CHECK_QUESTIONS = (4, 4, 3, 3)
COURSES_OF_A_LEVEL = 3
LEVEL_DIFFICULTY = (-0.8, 0.0, 0.8)
COURSE_DIFFICULTY_SD, QUESTION_DIFFICULTY_SD, CHECK_DIFFICULTY_SD = 0.2, 0.55, 0.9
SLOPE, SLOPE_LOG_SD = 1.2, 0.25
PARTIAL_CREDIT_SHARE, MOST_STEPS = 0.15, 4
GAINS, SHARE_WITHOUT_GAIN = (0.05, 0.45), 0.1

# How a learner chooses: the weight of their main skill, and how near to their ability a level has to be.
MAIN_SKILL_WEIGHT, LEVEL_NEARNESS = 1.6, 0.9
VISITOR_SHARE, LONG_SHARE = 0.06, 0.12
FURTHER_COURSES, LONG_COURSES, LONG_FURTHER_COURSES, MOST_COURSES = 1.1, 4, 2.0, 10
DAYS_BETWEEN_COURSES, LONG_DAYS_BETWEEN_COURSES = 45, 200
OVERLAP_SHARE, OVERLAP_DAYS = 0.2, 14
FINISHING_SHARE = 0.88
QUIZ_DAYS = (7, 21)

BONUS_SHARE = 0.008
RETAKE_SHARE_BELOW_HALF, RETAKE_SHARE, KNOWN_QUESTION = 0.2, 0.01, 0.6
LATE_RETAKE_SHARE = 0.15

PARTNER_COURSE, PARTNER_LEARNERS, PARTNER_MEAN = "finance-partner", 140, 0.3

AbilityOn = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Ability of learners in skills on days, all three by number."""


@dataclass(frozen=True)
class Truth:
    """What was planted.

    Attributes:
        questions: item, skill, slope and step_1 to step_4: locations of the steps, empty beyond the highest category.
            The chance of category k or more is logistic(slope * (ability - step_k)).
        abilities: learner, skill, at_joining, at_last_answer (the last one in that skill; empty without one),
            last_day, at_end (after everything completed).
        gains: course, gain.
        organizations: organization, skill, mean: what it adds to the ability of each member at joining.
    """

    questions: pd.DataFrame
    abilities: pd.DataFrame
    gains: pd.DataFrame
    organizations: pd.DataFrame


@dataclass(frozen=True)
class School:
    """Days are days since 1970.

    Attributes:
        learners: learner, day of joining.
        answers: learner, item, course, quiz, attempt, day, category, highest_category.
        completions: learner, course, day.
        enrollments: learner, course, level, day.
        organizations: learner, organization.
        courses: course, level (1 to 3), skill. The questions on joining belong to none: their course is `check`.
        questions: item, course, quiz, skill, highest_category.
        truth: what was planted.
    """

    learners: pd.DataFrame
    answers: pd.DataFrame
    completions: pd.DataFrame
    enrollments: pd.DataFrame
    organizations: pd.DataFrame
    courses: pd.DataFrame
    questions: pd.DataFrame
    truth: Truth


def make_school(seed: int, learners: int = LEARNERS) -> School:
    """The school of a seed. With fewer learners there are fewer employers, and the same courses."""
    rng = np.random.default_rng(seed)
    share = learners / LEARNERS
    partners = round(PARTNER_LEARNERS * share)
    courses = _courses(rng)
    questions, slopes, steps = _questions(rng, courses)
    employer_of, employer_means = _employers(rng, learners, partners, share)
    abilities = rng.normal(0, GENERAL_SD, (learners, 1)) + rng.normal(0, SKILL_SD, (learners, len(SKILLS)))
    abilities += np.where(employer_of[:, None] >= 0, employer_means[employer_of], 0)
    is_partner = np.arange(learners) >= learners - partners
    abilities[is_partner] += PARTNER_MEAN

    joined = rng.integers(FIRST_DAY, LAST_DAY - 60, learners)
    taken, ability_on = _take_courses(rng, courses, abilities, joined, is_partner)
    asked = [_check_sittings(questions, joined, is_partner), _course_sittings(rng, questions, taken)]
    first = _answer(rng, pd.concat(asked, ignore_index=True), questions, slopes, steps, ability_on)
    again = _answer(rng, _retakes(rng, first, questions), questions, slopes, steps, ability_on)
    answers = pd.concat([first, again]).sort_values(["day", "learner", "item", "attempt"], ignore_index=True)

    who, what = (axis.ravel() for axis in np.indices(abilities.shape))
    skill_of = questions["skill"].to_numpy()[answers["item"]]
    last_day = answers.groupby(["learner", skill_of])["day"].max().reindex(pd.MultiIndex.from_arrays([who, what]))
    last_day = last_day.to_numpy()
    planted = pd.DataFrame({"learner": who, "skill": what, "at_joining": abilities[who, what]})
    planted["at_last_answer"] = np.where(last_day > 0, ability_on(who, what, np.nan_to_num(last_day)), np.nan)
    planted["last_day"] = last_day
    planted["at_end"] = ability_on(who, what, np.full(len(who), LAST_DAY + 1))

    # From here on by name.
    learner = np.array([f"learner-{number + 1:04}" for number in range(learners)])
    employer = np.array([f"employer-{number + 1:02}" for number in range(len(employer_means))])
    course, skill = np.array([*courses["course"], CHECK]), np.array(SKILLS)
    questions["course"], questions["skill"] = course[questions["course"]], skill[questions["skill"]]
    courses["skill"] = skill[courses["skill"]]
    taken["level"] = courses["level"].to_numpy()[taken["course"]]
    taken["learner"], taken["course"] = learner[taken["learner"]], course[taken["course"]]
    answers["learner"] = learner[answers["learner"]]
    answers = answers.join(questions[["course", "quiz", "highest_category"]], on="item")
    answers["item"] = questions["item"].to_numpy()[answers["item"]]
    planted["learner"], planted["skill"] = learner[who], skill[what]
    employed = np.flatnonzero(employer_of >= 0)
    step_names = [f"step_{step + 1}" for step in range(MOST_STEPS)]
    truth = Truth(
        questions=questions[["item", "skill"]].assign(slope=slopes).join(pd.DataFrame(steps, columns=step_names)),
        abilities=planted,
        gains=courses[["course", "gain"]],
        organizations=pd.DataFrame(employer_means, columns=skill)
        .assign(organization=employer)
        .melt("organization", var_name="skill", value_name="mean"),
    )
    started, completed = taken[taken["start"] <= LAST_DAY], taken[taken["completed"] <= LAST_DAY]
    return School(
        learners=pd.DataFrame({"learner": learner, "day": joined}),
        answers=answers[["learner", "item", "course", "quiz", "attempt", "day", "category", "highest_category"]],
        completions=completed[["learner", "course", "completed"]].rename(columns={"completed": "day"}),
        enrollments=started[["learner", "course", "level", "start"]].rename(columns={"start": "day"}),
        organizations=pd.DataFrame({"learner": learner[employed], "organization": employer[employer_of[employed]]}),
        courses=courses[["course", "level", "skill"]],
        questions=questions[["item", "course", "quiz", "skill", "highest_category"]],
        truth=truth,
    )


def _courses(rng: np.random.Generator) -> pd.DataFrame:
    """Courses with what is planted about them: difficulty beyond their level, gain, popularity, quizzes."""
    rows = [
        (f"{name}-{level}{letter}", level, skill)
        for skill, name in enumerate(SKILLS)
        for level in (1, 2, 3)
        for letter in "abc"[:COURSES_OF_A_LEVEL]
    ]
    courses = pd.DataFrame([*rows, (PARTNER_COURSE, 2, len(SKILLS) - 1)], columns=["course", "level", "skill"])
    count = len(courses)
    courses["difficulty"] = np.array(LEVEL_DIFFICULTY)[courses["level"] - 1]
    courses["difficulty"] += rng.normal(0, COURSE_DIFFICULTY_SD, count)
    courses["gain"] = np.where(rng.random(count) < SHARE_WITHOUT_GAIN, 0, rng.uniform(*GAINS, count))
    courses["popularity"] = rng.normal(0, 0.4, count)
    courses["quizzes"] = rng.choice([2, 2, 3], count)
    return courses


def _questions(rng: np.random.Generator, courses: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Questions, their slopes and their steps. `course` is a number, -1 for the questions on joining."""
    rows = [
        (f"{CHECK}-{SKILLS[skill]}-{number}", -1, 0, skill, False)
        for skill, count in enumerate(CHECK_QUESTIONS)
        for number in range(1, count + 1)
    ]
    for course, (name, skill, quizzes) in enumerate(courses[["course", "skill", "quizzes"]].itertuples(index=False)):
        for quiz in range(1, quizzes + 1):
            size = 3 if quiz == quizzes else 2
            rows += [(f"{name}-{quiz}{letter}", course, quiz, skill, False) for letter in "abc"[:size]]
        rows.append((f"{name}-bonus", course, quizzes, skill, True))
    questions = pd.DataFrame(rows, columns=["item", "course", "quiz", "skill", "is_bonus"])

    count = len(questions)
    in_check = (questions["course"] < 0).to_numpy()
    location = np.where(in_check, 0, courses["difficulty"].to_numpy()[questions["course"]])
    location += rng.normal(0, 1, count) * np.where(in_check, CHECK_DIFFICULTY_SD, QUESTION_DIFFICULTY_SD)
    slopes = SLOPE * np.exp(rng.normal(0, SLOPE_LOG_SD, count))
    has_credit = (rng.random(count) < PARTIAL_CREDIT_SHARE) & ~in_check
    highest = np.where(has_credit, rng.integers(2, MOST_STEPS + 1, count), 1)
    place = np.arange(MOST_STEPS) - (highest[:, None] - 1) / 2
    steps = location[:, None] + place * rng.uniform(0.5, 1.0, (count, 1))
    questions["highest_category"] = highest
    return questions, slopes, np.where(np.arange(MOST_STEPS) < highest[:, None], steps, np.nan)


def _employers(rng: np.random.Generator, learners: int, partners: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The employer of each learner, -1 for none, and what each adds to each skill."""
    low, high = np.log(EMPLOYER_SIZES)
    large = np.exp(rng.uniform(low, high, max(2, round(EMPLOYERS * share)))).round().astype(int)
    small = rng.integers(SMALL_EMPLOYER_SIZES[0], SMALL_EMPLOYER_SIZES[1] + 1, max(2, round(SMALL_EMPLOYERS * share)))
    sizes = np.concatenate([large, small])
    members = np.repeat(np.arange(len(sizes)), sizes)
    employer_of = np.full(learners, -1)
    places = rng.permutation(learners - partners)[: len(members)]
    employer_of[places] = members[: len(places)]
    means = rng.normal(0, EMPLOYER_SD, (len(sizes), 1)) + rng.normal(0, EMPLOYER_SKILL_SD, (len(sizes), len(SKILLS)))
    return employer_of, means


def _take_courses(
    rng: np.random.Generator, courses: pd.DataFrame, abilities: np.ndarray, joined: np.ndarray, is_partner: np.ndarray
) -> tuple[pd.DataFrame, AbilityOn]:
    """The courses that each learner takes (learner, course, start, completed, quizzes taken and their days).

    With them comes the ability of learners in skills on days: a course counts from the day after its completion.
    `completed` is NEVER when the course is left before the last quiz.
    """
    learners, partner_course = len(joined), len(courses) - 1
    is_long = rng.random(learners) < LONG_SHARE
    counts = np.where(
        is_long, LONG_COURSES + rng.poisson(LONG_FURTHER_COURSES, learners), 1 + rng.poisson(FURTHER_COURSES, learners)
    )
    counts[rng.random(learners) < VISITOR_SHARE] = 0
    counts = np.where(is_partner, 1, np.minimum(counts, MOST_COURSES))
    main_skill = rng.integers(0, len(SKILLS), learners)
    skill, gain, quizzes = (courses[name].to_numpy() for name in ("skill", "gain", "quizzes"))
    near_to = np.array(LEVEL_DIFFICULTY)[courses["level"] - 1]

    completed = np.full((learners, MOST_COURSES), NEVER)
    course_taken = np.full((learners, MOST_COURSES), partner_course)

    def ability_on(learner: np.ndarray, in_skill: np.ndarray, day: np.ndarray) -> np.ndarray:
        ability = abilities[learner, in_skill]
        for place in range(MOST_COURSES):
            course = course_taken[learner, place]
            counts_for_it = (completed[learner, place] < day) & (skill[course] == in_skill)
            ability = ability + np.where(counts_for_it, gain[course], 0)
        return ability

    has_taken = np.zeros((learners, len(courses)), dtype=bool)
    has_taken[:, partner_course] = True
    next_start = joined + rng.integers(1, 30, learners)
    taken = []
    for place in range(MOST_COURSES):
        who = np.flatnonzero((counts > place) & (next_start <= LAST_DAY))
        start = next_start[who]
        now = np.column_stack([ability_on(who, np.full(len(who), number), start) for number in range(len(SKILLS))])
        wish = courses["popularity"].to_numpy() + MAIN_SKILL_WEIGHT * (skill == main_skill[who, None])
        wish = wish - (now[:, skill] - near_to) ** 2 / (2 * LEVEL_NEARNESS**2) + rng.gumbel(size=(len(who), len(skill)))
        chosen = np.where(is_partner[who], partner_course, np.where(has_taken[who], -np.inf, wish).argmax(axis=1))
        has_taken[who, chosen] = True

        waits = rng.integers(QUIZ_DAYS[0], QUIZ_DAYS[1] + 1, (len(who), quizzes.max()))
        days = start[:, None] + waits.cumsum(axis=1)
        last = days[np.arange(len(who)), quizzes[chosen] - 1]
        finishes = rng.random(len(who)) < FINISHING_SHARE
        course_taken[who, place] = chosen
        completed[who, place] = np.where(finishes & (last <= LAST_DAY), last, NEVER)
        frame = pd.DataFrame({"learner": who, "course": chosen, "start": start, "completed": completed[who, place]})
        frame["quizzes_taken"] = quizzes[chosen] - ~finishes
        taken.append(frame.join(pd.DataFrame(days).add_prefix("day_")))

        wait = rng.exponential(np.where(is_long[who], LONG_DAYS_BETWEEN_COURSES, DAYS_BETWEEN_COURSES)).astype(int)
        overlaps = rng.random(len(who)) < OVERLAP_SHARE
        next_start[who] = np.where(overlaps, start + OVERLAP_DAYS, last + 1 + wait)
    return pd.concat(taken, ignore_index=True), ability_on


def _check_sittings(questions: pd.DataFrame, joined: np.ndarray, is_partner: np.ndarray) -> pd.DataFrame:
    asked = np.flatnonzero(questions["course"] < 0)
    who = np.flatnonzero(~is_partner)
    learner, item = np.repeat(who, len(asked)), np.tile(asked, len(who))
    return pd.DataFrame({"learner": learner, "item": item, "day": joined[learner], "attempt": 1})


def _course_sittings(rng: np.random.Generator, questions: pd.DataFrame, taken: pd.DataFrame) -> pd.DataFrame:
    asked = questions.assign(item=np.arange(len(questions)))
    rows = taken.merge(asked, on="course")
    rows = rows[(rows["quiz"] <= rows["quizzes_taken"]) & (~rows["is_bonus"] | (rng.random(len(rows)) < BONUS_SHARE))]
    days = rows.filter(like="day_").to_numpy()
    day = days[np.arange(len(rows)), rows["quiz"] - 1]
    return pd.DataFrame({"learner": rows["learner"], "item": rows["item"], "day": day, "attempt": 1})


def _answer(
    rng: np.random.Generator,
    asked: pd.DataFrame,
    questions: pd.DataFrame,
    slopes: np.ndarray,
    steps: np.ndarray,
    ability_on: AbilityOn,
) -> pd.DataFrame:
    """The category that each answer reaches, by the ability of its day."""
    asked = asked[asked["day"] <= LAST_DAY]
    learner, item, day, attempt = (asked[name].to_numpy() for name in ("learner", "item", "day", "attempt"))
    ability = ability_on(learner, questions["skill"].to_numpy()[item], day)
    luck = rng.logistic(size=len(asked)) + np.where(attempt > 1, KNOWN_QUESTION, 0)
    reached = slopes[item, None] * (ability[:, None] - steps[item]) + luck[:, None] > 0
    return asked.assign(category=reached.sum(axis=1))


def _retakes(rng: np.random.Generator, answers: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Whole quizzes taken again, mostly after a bad result and soon."""
    rows = answers.join(questions[["course", "quiz", "highest_category"]], on="item")
    rows = rows[rows["course"] >= 0]
    sitting = rows.groupby(["learner", "course", "quiz"])
    result = sitting["category"].transform("sum") / sitting["highest_category"].transform("sum")
    number, count = sitting.ngroup().to_numpy(), sitting.ngroups
    wait = rng.integers(1, 15, count)
    wait = np.where(rng.random(count) < LATE_RETAKE_SHARE, rng.integers(70, 200, count), wait)[number]
    again = rng.random(count)[number] < np.where(result < 0.5, RETAKE_SHARE_BELOW_HALF, RETAKE_SHARE)
    return answers.loc[rows.index[again]].assign(day=(rows["day"] + wait)[again], attempt=2)


def write_landing(school: School, folder: Path) -> None:
    """The school as a delivery of the contract `campus`, a file a table: nothing of what was planted is in it.

    What the school does not have, such as degree programs, is delivered as empty files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for table, frame in _delivery(school).items():
        frame.to_csv(folder / f"{table}.csv", index=False)


def _delivery(school: School) -> dict[str, pd.DataFrame]:
    courses, members, at_check = school.courses, school.organizations, school.questions["course"] == CHECK
    items = school.questions[~at_check].groupby(["course", "quiz"], as_index=False).size()
    items = items.rename(columns={"course": "course_id"})
    items["week"] = 2 * items["quiz"]
    last = items.groupby("course_id")["quiz"].transform("max")
    items["weight"] = np.where(items["quiz"] < last, 0.3, 1 - 0.3 * (last - 1)).round(1)
    employers = members.groupby("organization", as_index=False).size()
    levels = {1: "basic", 2: "intermediate", 3: "advanced"}

    # Questions of a quiz are answered one a minute, a quiz at noon; taken again on its day, later.
    answers = school.answers.assign(quiz_id=_quiz_id(school.answers))
    sitting = answers.groupby(["learner", "course", "quiz", "attempt"])
    minutes = 60 * (12 + answers["attempt"]) + sitting.cumcount()
    answers["at"] = pd.to_datetime(answers["day"], unit="D") + pd.to_timedelta(minutes, unit="min")
    answers["course_id"], answers["learner_id"] = answers["course"], answers["learner"]
    sat = answers[answers["course"] != CHECK].groupby(["learner_id", "course_id", "quiz_id", "attempt"], as_index=False)
    sat = sat.agg(at=("at", "max"), score=("category", "sum"), maximum=("highest_category", "sum"))

    taken = school.enrollments.merge(school.completions, "left", ["learner", "course"], suffixes=("", "_completed"))
    grades = sat[sat["attempt"] == 1].groupby(["learner_id", "course_id"])[["score", "maximum"]].sum()
    grade = (100 * grades["score"] / grades["maximum"]).rename("grade")
    taken = taken.join(grade, on=["learner", "course"])
    is_completed = taken["day_completed"].notna()
    offered = [*courses["course"], CHECK]
    skills = pd.DataFrame({"skill_id": SKILLS, "skill_name": [skill.title() for skill in SKILLS]})
    return {
        "learners": pd.DataFrame(
            {
                "learner_id": school.learners["learner"],
                "registered_at": _noon(school.learners["day"]),
                **dict.fromkeys(
                    ("full_name", "email", "birth_year", "gender", "country", "region", "education_level"), None
                ),
                "employment_status": np.where(
                    school.learners["learner"].isin(members["learner"]), "full_time", "student"
                ),
            }
        ),
        "organizations": pd.DataFrame(
            {
                "organization_id": employers["organization"],
                "organization_name": employers["organization"].str.title(),
                "industry": np.array(["retail", "health", "software"])[employers.index % 3],
                "country": np.array(["ES", "MX"])[employers.index % 2],
                "size_band": np.where(employers["size"] > 50, "51-500", "1-50"),
            }
        ),
        "organization_members": pd.DataFrame(
            {"learner_id": members["learner"], "organization_id": members["organization"]}
        ).assign(from_on=_date(FIRST_DAY), to_on=None),
        "programs": _empty("program_id program_name university_name level terms_per_year terms_may_be_missed"),
        "terms": _empty("program_id term_id starts_on ends_on"),
        "program_enrollments": _empty("learner_id program_id admitted_on first_term_id"),
        "courses": pd.DataFrame(
            {
                "course_id": offered,
                "course_name": [course.title() for course in offered],
                "course_type": ["open"] * len(courses) + ["skill_check"],
                "program_id": None,
                "level": [*courses["level"].map(levels), None],
                "is_required_for_progress": "false",
                "language": "en",
            }
        ),
        "course_offerings": pd.DataFrame({"course_id": offered}).assign(
            term_id="open", version_id="v1", starts_on=_date(FIRST_DAY), ends_on=None
        ),
        "course_items": pd.DataFrame(
            {
                "course_id": items["course_id"],
                "version_id": "v1",
                "item_id": _quiz_id(items),
                "item_name": _quiz_id(items).str.title(),
                "kind": "quiz",
                "week": items["week"],
                "position": items["quiz"],
                "is_graded": "true",
                "weight": items["weight"],
                "minutes": items["size"],
                **dict.fromkeys(("due_day", "late_penalty", "assignment_group"), None),
            }
        ),
        "shared_items": _empty("open_course_id open_item_id course_id item_id"),
        "course_enrollments": pd.DataFrame(
            {
                "learner_id": taken["learner"],
                "course_id": taken["course"],
                "term_id": "open",
                "enrolled_at": _noon(taken["day"]),
                "dropped_on": None,
                "completed_on": pd.to_datetime(taken["day_completed"], unit="D").dt.strftime("%Y-%m-%d"),
                "is_paid": "true",
                "final_grade": taken["grade"].where(is_completed),
            }
        ),
        "submissions": pd.DataFrame(
            {
                "learner_id": sat["learner_id"],
                "course_id": sat["course_id"],
                "term_id": "open",
                "item_id": sat["quiz_id"],
                "attempt_number": sat["attempt"],
                "submitted_at": sat["at"],
                "score": sat["score"],
                "maximum_score": sat["maximum"],
                "grade_released_at": sat["at"],
                "graded_by": "automatic",
            }
        ),
        "questions": pd.DataFrame(
            {
                "question_id": school.questions["item"],
                "question_version": 1,
                "course_id": school.questions["course"],
                "item_id": _quiz_id(school.questions),
                "maximum_score": school.questions["highest_category"],
            }
        ),
        "responses": pd.DataFrame(
            {
                "learner_id": answers["learner_id"],
                "question_id": answers["item"],
                "question_version": 1,
                "attempt_number": answers["attempt"],
                "course_id": answers["course_id"],
                "item_id": answers["quiz_id"],
                "answered_at": answers["at"],
                "score": answers["category"],
                "maximum_score": answers["highest_category"],
            }
        ),
        "skills": skills.assign(competency="work", domain="work"),
        "question_skills": school.questions[["item", "skill"]].set_axis(["question_id", "skill_id"], axis=1),
        "course_skills": courses[["course", "skill"]].set_axis(["course_id", "skill_id"], axis=1),
        "events": pd.DataFrame(
            {
                "event_id": np.arange(1, len(sat) + 1),
                "learner_id": sat["learner_id"],
                "course_id": sat["course_id"],
                "term_id": "open",
                "item_id": sat["quiz_id"],
                "event_type": "page_view",
                "occurred_at": sat["at"],
                "received_at": sat["at"],
            }
        ),
        "support_tickets": _empty("ticket_id learner_id program_id ticket_type opened_at"),
        "profiles": _empty(
            "learner_id updated_on target_role work_experience_count has_links has_resume portfolio_project_count"
        ),
        "credentials": _empty("credential_id learner_id kind course_id program_id issued_on"),
    }


def _quiz_id(rows: pd.DataFrame) -> pd.Series:
    return "quiz-" + rows["quiz"].astype(str)


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))


def _noon(day: pd.Series) -> pd.Series:
    return pd.to_datetime(day, unit="D") + pd.Timedelta(hours=12)


def _empty(columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=columns.split())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.skill_school", description="Write a school as landing files."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the landing files; made when absent")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learners", type=int, default=LEARNERS)
    arguments = parser.parse_args()
    school = make_school(arguments.seed, arguments.learners)
    write_landing(school, arguments.out)
    print(f"{arguments.out}: {len(school.learners)} learners, {len(school.answers)} answers, seed {arguments.seed}")


if __name__ == "__main__":
    main()
