"""Everything of the landing folder but events, submissions and answers: people, programs, courses, credentials.

`Directory` also holds the ids under which the other files speak of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dagster_project.simulate import courses as course
from dagster_project.simulate import dirt, world
from dagster_project.simulate.courses import KINDS
from dagster_project.simulate.delivery import Report, Sittings, append_spoilt, text_array, write_csv, write_table
from dagster_project.simulate.employers import Employers
from dagster_project.simulate.enrollments import PASSING_GRADE, Enrollments
from dagster_project.simulate.history import (
    CHECKS,
    OPEN_DAYS,
    OpenEnrollments,
    OtherPrograms,
    course_level,
    stackable_into,
)
from dagster_project.simulate.population import Population
from dagster_project.simulate.skills import CHECK_QUESTIONS, SKILLS, Bank, bank, within_course
from dagster_project.simulate.tables import course_ids, has_ticket

LAST = np.datetime64(world.LAST_DAY)
SECOND_VERSION_FROM = np.datetime64("2023-08-01")
OPEN_TERM = "open"  # the one term of an open course, which can be taken at any time
TARGET_ROLES = (
    "data analyst",
    "data scientist",
    "software engineer",
    "product manager",
    "accountant",
    "marketing manager",
    "public health officer",
    "project manager",
)
TICKETS = ("payment", "technical", "academic", "enrollment")
CONTACTS_FROM = np.datetime64("2022-08-01")  # the university keeps a log of contacts since then
CONTACT_RATE = 0.05  # of the degree enrollments
CHANNELS, CHANNEL_SHARE = ("email", "phone", "chat", "meeting"), (0.5, 0.25, 0.15, 0.1)
TOPICS = ("activity", "assignments", "grades", "plans", "technical", "other")
CALLERS, CALLER_SHARE = ("advisor", "coach", "instructor"), (0.5, 0.3, 0.2)
FIRST_NAMES = (
    "Ana",
    "Ben",
    "Chen",
    "Dara",
    "Eli",
    "Fatima",
    "Goran",
    "Hana",
    "Ivan",
    "Jo",
    "Kofi",
    "Lena",
    "Mina",
    "Noor",
    "Omar",
    "Pia",
    "Quinn",
    "Rosa",
    "Sam",
    "Tara",
)
LAST_NAMES = (
    "Abara",
    "Berg",
    "Costa",
    "Diallo",
    "Endo",
    "Fischer",
    "Gupta",
    "Haddad",
    "Ito",
    "Jansen",
    "Khan",
    "Lopez",
    "Moreau",
    "Novak",
    "Okafor",
    "Perez",
    "Quist",
    "Rossi",
    "Silva",
    "Tanaka",
)


@dataclass(frozen=True)
class Directory:
    """Ids of learners, courses, terms, items and questions, and dates of the learners' lives."""

    learner: pa.Array
    course: pa.Array  # the population's courses, the skill checks, and one that does not exist
    term: pa.Array  # world.terms(), and the open courses' term last
    term_id: pa.Array  # each id once: Parquet's bytes are not the same twice where a dictionary has one twice
    term_code: np.ndarray  # (terms,) number in `term_id`
    item: pa.Array  # items of first versions, then their replacements in second versions
    item_code: np.ndarray  # (items,) number in `item` under a second version
    has_second: np.ndarray  # (courses,)
    question: pa.Array
    question_course: pa.Array
    question_item: pa.Array
    registered: np.ndarray  # datetime64[D]
    unknown_course: int

    def __len__(self) -> int:
        return len(self.learner)

    @classmethod
    def make(cls, population: Population, open_registered: np.ndarray) -> "Directory":
        """Ids of a population and of `open_registered` learners of open content only."""
        rng = np.random.default_rng([population.seed, 12])
        courses, learners = population.courses, population.learners
        n = len(population)
        start = world.terms().start[learners["first_term"]]
        waited = np.where(
            learners["is_long_time_learner"], 366 + rng.exponential(500, n), rng.integers(60, 366, n)
        ).astype(int)
        registered = np.concatenate([start - waited, open_registered])
        ids = course_ids(population)
        number = np.arange(len(courses.item_course)) - courses.item_start[courses.item_course]
        item = np.char.add(np.char.add(ids[courses.item_course], "-"), np.char.zfill((number + 1).astype(str), 3))
        role = courses.designs.role
        has_second = (role == course.FIRST_TERM) & (rng.random(len(courses)) < 0.2)
        replaced = (
            has_second[courses.item_course] & (courses.item_kind == course.READING) & (rng.random(len(item)) < 0.5)
        )
        code = np.arange(len(item))
        code[replaced] = len(item) + np.arange(replaced.sum())
        terms = [*world.terms().id.tolist(), OPEN_TERM]
        term_id, term_code = np.unique(terms, return_inverse=True)
        questions = bank(population)
        checks = [f"K{s + 1:02d}" for s in range(CHECKS)]
        check_questions = [
            (f"{c}-q{q + 1:02d}", c, f"{c}-{'ab'[q >= CHECK_QUESTIONS // 2]}")
            for c in checks
            for q in range(CHECK_QUESTIONS)
        ]
        return cls(
            learner=text_array(np.char.add("L", np.char.zfill((np.arange(len(registered)) + 1).astype(str), 7))),
            course=pa.array([*ids.tolist(), *checks, "C9999"]),
            term=pa.array(terms),
            term_id=pa.array(term_id),
            term_code=term_code,
            item=pa.array([*item.tolist(), *np.char.add(item[replaced], "b").tolist()]),
            item_code=code,
            has_second=has_second,
            question=pa.array(
                [f"{ids[c]}-q{q:02d}" for c, q in zip(questions.course, within_course(questions), strict=True)]
                + [q for q, _, _ in check_questions]
            ),
            question_course=pa.array(ids[questions.course].tolist() + [c for _, c, _ in check_questions]),
            question_item=pa.array(item[questions.item].tolist() + [i for _, _, i in check_questions]),
            registered=registered,
            unknown_course=len(ids) + len(checks),
        )

    def item_codes(self, item: np.ndarray, term: np.ndarray) -> np.ndarray:
        """Numbers in `self.item` of items as taught in a term; -1 stays."""
        second = (term >= 0) & (world.terms().start[term] >= SECOND_VERSION_FROM)
        return np.where(second & (item >= 0), self.item_code[item], item)

    def item_ids(self, item: np.ndarray, term: np.ndarray) -> pa.Array:
        """Ids of items as taught in a term."""
        return self.item.take(self.item_codes(item, term))


def write_directory(
    folder: Path,
    population: Population,
    d: Directory,
    every: Enrollments,
    first: int,
    completed_on: np.ndarray,
    others: OtherPrograms,
    opened: OpenEnrollments,
    questions: Bank,
    sittings: Sittings,
    employers: Employers,
    report: Report,
) -> None:
    """Writes people, programs, courses, enrollments, skills, tickets, contacts, profiles and credentials."""
    _people(folder, population, d, employers, report)
    _programs(folder, population, d, completed_on, others, report)
    _courses(folder, population, d, questions, report)
    _enrollments(folder, population, d, every, first, completed_on, opened, sittings, report)
    _interventions(folder, population, d, every, report)


def _people(folder: Path, population: Population, d: Directory, employers: Employers, report: Report) -> None:
    rng = np.random.default_rng([population.seed, 13])
    learners, n, people = population.learners, len(population), len(d)
    start = world.terms().start[learners["first_term"]]
    more = people - n

    def everyone(mine: np.ndarray, share: np.ndarray | list[float]) -> np.ndarray:
        return np.concatenate([mine, rng.choice(len(share), more, p=np.asarray(share) / np.sum(share))])

    region = everyone(learners["region"], world.REGION_SHARE)
    places = list(world.REGIONS.values())
    sizes = np.array([len(p) for p in places])
    pick = np.minimum(rng.geometric(0.16, people) - 1, 400) % sizes[region]
    country = np.array([c for p in places for c in p])[(np.cumsum(sizes) - sizes)[region] + pick]
    age = np.concatenate([learners["age_years"], np.clip(18 + rng.gamma(3, 5, more), 18, 70).astype(int)])
    year = np.concatenate([start, d.registered[n:]]).astype("datetime64[Y]").astype(int) + 1970
    names = [
        f"{FIRST_NAMES[a]} {LAST_NAMES[b]}"
        for a, b in zip(rng.integers(0, 20, people), rng.integers(0, 20, people), strict=True)
    ]
    ids = d.learner.to_pylist()
    write_table(
        folder,
        report,
        "learners",
        {
            "learner_id": d.learner,
            "full_name": names,
            "email": [
                f"{name.lower().replace(' ', '.')}.{i[1:]}@example.org" for name, i in zip(names, ids, strict=True)
            ],
            "registered_at": pa.array(d.registered.astype("datetime64[s]") + rng.integers(0, 86_000, people)),
            "birth_year": year - age,
            "gender": np.array(["female", "male", "other", ""])[rng.choice(4, people, p=[0.42, 0.46, 0.02, 0.1])],
            "country": country,
            "region": np.array(list(world.REGIONS))[region],
            "education_level": np.array(world.EDUCATION)[
                everyone(learners["education_level"], [0.15, 0.2, 0.4, 0.2, 0.05])
            ],
            "employment_status": np.array(world.EMPLOYMENT)[
                everyone(learners["employment_status"], world.EMPLOYMENT_SHARE)
            ],
        },
    )
    append_spoilt(
        folder,
        report,
        "learners",
        "malformed",
        [f"L99{i:05d},No Year,no.year@example.org,not a date,1990,,US,Europe,master,student" for i in range(3)],
    )

    write_table(
        folder,
        report,
        "organizations",
        {
            "organization_id": employers.ids,
            "organization_name": [
                f"{LAST_NAMES[i % 20]} {industry.replace('_', ' ').title()} {i + 1}"
                for i, industry in enumerate(employers.industry)
            ],
            "industry": employers.industry,
            "country": employers.country,
            "size_band": employers.size_band,
        },
    )
    write_table(
        folder,
        report,
        "organization_members",
        {
            "learner_id": d.learner.take(employers.member),
            "organization_id": employers.ids[employers.employer],
            "from_on": employers.since,
            "to_on": np.where(employers.until <= LAST, employers.until, np.datetime64("NaT")),
        },
    )

    role = np.concatenate([learners["has_target_role"], rng.random(more) < 0.2])
    has = np.flatnonzero(role | (rng.random(people) < 0.5))
    updated = np.concatenate([start - rng.integers(1, 60, n), d.registered[n:] + rng.integers(0, 30, more)])[has]
    write_table(
        folder,
        report,
        "profiles",
        {
            "learner_id": d.learner.take(has),
            "updated_on": np.minimum(updated, LAST),
            "target_role": pa.array(
                np.array(TARGET_ROLES)[rng.integers(0, 8, len(has))].astype(object), mask=~role[has]
            ),
            "work_experience_count": rng.poisson(1.2, len(has)),
            "has_links": rng.random(len(has)) < 0.35,
            "has_resume": rng.random(len(has)) < 0.25,
            "portfolio_project_count": rng.poisson(0.4, len(has)),
        },
    )

    with_ticket = np.flatnonzero(has_ticket(population))
    twice = with_ticket[rng.random(len(with_ticket)) < 0.2]
    who = np.concatenate([with_ticket, twice])
    opened_on = start[who] + rng.integers(0, world.TERM_DAYS, len(who))
    outside = np.flatnonzero(rng.random(n) < 0.1)  # outside the first term: must not count
    who = np.concatenate([who, outside])
    opened_on = np.concatenate([opened_on, start[outside] + rng.integers(world.TERM_DAYS, 360, len(outside))])
    known = opened_on <= LAST
    tickets = int(known.sum())
    write_table(
        folder,
        report,
        "support_tickets",
        {
            "ticket_id": [f"T{i + 1:07d}" for i in range(tickets)],
            "learner_id": d.learner.take(who[known]),
            "program_id": np.array(world.programs().ids)[learners["program"][who[known]]],
            "ticket_type": np.array(TICKETS)[rng.integers(0, 4, tickets)],
            "opened_at": pa.array(opened_on[known].astype("datetime64[s]") + rng.integers(0, 86_000, tickets)),
        },
    )
    unknown = [f"T9{i:06d},L9999999,P01,technical,2024-05-01 10:00:00" for i in range(max(2, tickets // 2000))]
    append_spoilt(folder, report, "support_tickets", "unknown_reference", unknown)


def _interventions(folder: Path, population: Population, d: Directory, every: Enrollments, report: Report) -> None:
    """Contacts with those who are enrolled, drawn by lot: they go along with nothing, and they change nothing."""
    rng = np.random.default_rng([population.seed, 18])
    chosen = np.flatnonzero((every.term >= 0) & (rng.random(len(every)) < CONTACT_RATE))
    day = rng.integers(1, world.TERM_DAYS, len(chosen))
    contacted = (every.start[chosen] + day).astype("datetime64[s]") + rng.integers(8 * 3600, 18 * 3600, len(chosen))
    entered = contacted + np.where(rng.random(len(chosen)) < 0.2, rng.integers(1, 4, len(chosen)) * 86_400, 300)
    is_about_course = rng.random(len(chosen)) < 0.6
    drawn = {
        "channel": np.array(CHANNELS)[rng.choice(4, len(chosen), p=CHANNEL_SHARE)],
        "topic": np.array(TOPICS)[rng.integers(0, len(TOPICS), len(chosen))],
        "contacted_by": np.array(CALLERS)[rng.choice(3, len(chosen), p=CALLER_SHARE)],
    }
    kept = (day <= every.last_day[chosen]) & (contacted >= CONTACTS_FROM) & (entered <= LAST)
    kept = np.flatnonzero(kept)[np.argsort(contacted[kept], kind="stable")]
    who = chosen[kept]
    write_table(
        folder,
        report,
        "interventions",
        {
            "intervention_id": [f"I{i + 1:07d}" for i in range(len(kept))],
            "learner_id": d.learner.take(every.learner[who]),
            "program_id": np.array(world.programs().ids)[world.terms().program[every.term[who]]],
            "course_id": pa.array(
                d.course.take(every.course[who]).to_numpy(zero_copy_only=False), mask=~is_about_course[kept]
            ),
            **{name: values[kept] for name, values in drawn.items()},
            "contacted_at": pa.array(contacted[kept]),
            "recorded_at": pa.array(entered[kept]),
        },
    )


def _programs(
    folder: Path,
    population: Population,
    d: Directory,
    completed_on: np.ndarray,
    others: OtherPrograms,
    report: Report,
) -> None:
    rng = np.random.default_rng([population.seed, 14])
    programs, terms, learners = world.programs(), world.terms(), population.learners
    write_table(
        folder,
        report,
        "institutions",
        {
            "institution_id": ["U1"],
            "institution_name": ["Simulated University"],
            "time_zone": ["UTC"],
            "passing_share": [PASSING_GRADE / 100],
        },
    )
    write_table(
        folder,
        report,
        "programs",
        {
            "program_id": list(programs.ids),
            "program_name": list(programs.names),
            "university_name": list(programs.universities),
            "level": list(programs.levels),
            "terms_per_year": programs.terms_per_year,
            "terms_may_be_missed": programs.terms_may_be_missed,
            "time_zone": pa.nulls(len(programs.ids), pa.string()),
            "passing_share": pa.nulls(len(programs.ids), pa.string()),
        },
    )
    # What is the whole institution's is told once, without a program.
    shared = np.flatnonzero(terms.is_institutional)
    shared = shared[np.unique(terms.id[shared], return_index=True)[1]]
    told = np.concatenate([np.flatnonzero(~terms.is_institutional), shared])
    program_ids = np.array(programs.ids)
    write_table(
        folder,
        report,
        "terms",
        {
            "program_id": pa.array(
                program_ids[terms.program[told]].astype(object), pa.string(), mask=terms.is_institutional[told]
            ),
            "term_id": terms.id[told],
            "season": np.array(world.SEASONS)[terms.season[told]],
            "starts_on": terms.start[told],
            "ends_on": terms.start[told] + world.TERM_DAYS - 1,
            "drop_deadline_on": terms.start[told] + world.DROP_DEADLINE_DAY,
            "is_required": terms.is_required[told],
        },
    )
    n = len(population)
    first_term = np.concatenate([learners["first_term"], others.first_term])
    learner = np.concatenate([np.arange(n), others.learner])
    waited = np.concatenate([learners["terms_since_admitted_count"], np.zeros(len(others.learner), np.int64)])
    write_table(
        folder,
        report,
        "program_enrollments",
        {
            "learner_id": d.learner.take(learner),
            "program_id": program_ids[terms.program[first_term]],
            "admitted_on": _admitted(rng, first_term - waited),
            "first_term_id": terms.id[first_term],
            "completed_on": np.append(completed_on, np.full(len(others.learner), np.datetime64("NaT"))),
            **{name: pa.nulls(len(learner), pa.string()) for name in ("leave_from_on", "leave_to_on")},
        },
    )


def _admitted(rng: np.random.Generator, term: np.ndarray) -> np.ndarray:
    """Days of admission, 5 to 40 days before the term and not before the program's last one began."""
    terms = world.terms()
    ahead = np.where(terms.program[term - 1] == terms.program[term], (terms.start[term] - terms.start[term - 1]), 366)
    return terms.start[term] - np.minimum(rng.integers(5, 41, len(term)), ahead.astype(int) - 1)


def _courses(folder: Path, population: Population, d: Directory, questions: Bank, report: Report) -> None:
    rng = np.random.default_rng([population.seed, 15])
    courses, programs, terms = population.courses, world.programs(), world.terms()
    designs, n = courses.designs, len(courses)
    level = course_level(population)
    skill = questions.course_skills
    names = [f"{SKILLS[skill[c, 0]][0]} and {SKILLS[skill[c, 1]][0]} {c + 1}" for c in range(n)]
    program_ids = [programs.ids[p] if p >= 0 else None for p in designs.program]
    types = np.where(designs.role == course.OPEN, "open", "degree").tolist()
    checks = d.course.to_pylist()[n : n + CHECKS]
    write_table(
        folder,
        report,
        "courses",
        {
            "course_id": d.course.slice(0, n + CHECKS),
            "course_name": names + [f"Skill check: {name}" for name, _, _ in SKILLS],
            "course_type": types + ["skill_check"] * CHECKS,
            "program_id": program_ids + [None] * CHECKS,
            "level": np.array(["", "basic", "intermediate", "advanced"])[level].tolist() + [None] * CHECKS,
            "is_required_for_progress": pa.array((rng.random(n) < 0.5).tolist() + [None] * CHECKS),
            "language": [programs.languages[p] if p >= 0 else "en" for p in designs.program] + ["en"] * CHECKS,
            "passing_share": pa.nulls(n + CHECKS, pa.string()),
        },
    )
    begun = terms.start <= LAST
    rows: list[tuple[str, str, str, Any, Any]] = []
    ids, term_ids = d.course.to_pylist(), terms.id
    for c in np.flatnonzero(designs.program >= 0):
        for t in np.flatnonzero(begun & (terms.program == designs.program[c])):
            version = "v2" if d.has_second[c] and terms.start[t] >= SECOND_VERSION_FROM else "v1"
            rows.append((ids[c], term_ids[t], version, terms.start[t], terms.start[t] + 7 * courses.weeks[c] - 1))
    forever = (np.datetime64("2018-01-01"), np.datetime64("2030-12-31"))
    rows += [(ids[c], OPEN_TERM, "v1", *forever) for c in [*np.flatnonzero(designs.program < 0), *range(n, n + CHECKS)]]
    columns = ("course_id", "term_id", "version_id", "starts_on", "ends_on")
    listed: dict[str, Any] = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    listed |= {name: np.array(listed[name], "datetime64[D]") for name in ("starts_on", "ends_on")}
    write_table(folder, report, "course_offerings", listed)

    graded = courses.item_is_graded
    kind = np.array(KINDS)[courses.item_kind]
    number = np.arange(len(graded)) - courses.item_start[courses.item_course] + 1

    def items(which: np.ndarray, version: str, codes: np.ndarray) -> pa.Table:
        return pa.table(
            {
                "course_id": d.course.take(courses.item_course[which]),
                "version_id": pa.array([version] * len(which), pa.string()),
                "item_id": d.item.take(codes),
                "item_name": pa.array(
                    [f"{k.replace('_', ' ')} {i}" for k, i in zip(kind[which], number[which], strict=True)], pa.string()
                ),
                "kind": text_array(kind[which]),
                "week": pa.array(courses.item_week[which]),
                "position": pa.array(number[which]),
                "is_graded": pa.array(graded[which]),
                "weight": pa.array(courses.item_weight[which], from_pandas=True),
                "minutes": pa.array(courses.item_minutes[which]),
                "due_day": pa.array(courses.item_due_day[which], mask=courses.item_due_day[which] < 0),
                "late_penalty": pa.array(courses.item_late_penalty[which], from_pandas=True),
                "assignment_group": pa.array(
                    np.full(len(which), "best of"), pa.string(), mask=courses.item_group[which] == 0
                ),
                "best_count": pa.nulls(len(which), pa.string()),
            }
        )

    every = np.arange(len(graded))
    second = np.flatnonzero(d.has_second[courses.item_course])
    table = pa.concat_tables([items(every, "v1", every), items(second, "v2", d.item_code[second])])
    forms = pa.table(
        {
            "course_id": pa.array(np.repeat(checks, 2).tolist()),
            "version_id": pa.array(["v1"] * 2 * CHECKS),
            "item_id": pa.array([f"{c}-{form}" for c in checks for form in "ab"]),
            "item_name": pa.array([f"form {form}" for _ in checks for form in "AB"]),
            "kind": pa.array(["quiz"] * 2 * CHECKS),
            "week": pa.array([1] * 2 * CHECKS),
            "position": pa.array([1, 2] * CHECKS),
            "is_graded": pa.array([False] * 2 * CHECKS),
            "minutes": pa.array([30.0] * 2 * CHECKS),
        }
    )
    table = pa.concat_tables([table, forms], promote_options="default")
    write_csv(folder / "course_items.csv", table)
    report.add("course_items", table.num_rows)
    _shared_items(folder, population, d, rng, report)

    write_table(
        folder,
        report,
        "skills",
        {
            "skill_id": [f"S{s + 1:02d}" for s in range(len(SKILLS))],
            "skill_name": [s[0] for s in SKILLS],
            "competency": [s[1] for s in SKILLS],
            "domain": [s[2] for s in SKILLS],
        },
    )
    skill_ids = np.array([f"S{s + 1:02d}" for s in range(len(SKILLS))])
    write_table(
        folder,
        report,
        "course_skills",
        {
            "course_id": d.course.take(np.repeat(np.arange(n), 2)),
            "skill_id": skill_ids[skill.reshape(-1)],
        },
    )
    in_checks = np.repeat(np.arange(CHECKS), CHECK_QUESTIONS)
    total = len(d.question)
    graded_question = np.concatenate([questions.is_graded, np.zeros(len(in_checks), bool)])
    write_table(
        folder,
        report,
        "questions",
        {
            "question_id": d.question,
            "question_version": np.ones(total, np.int64),
            "course_id": d.question_course,
            "item_id": d.question_item,
            "maximum_score": np.where(graded_question, 3.0, 1.0),
        },
    )
    write_table(
        folder,
        report,
        "question_skills",
        {
            "question_id": d.question,
            "skill_id": skill_ids[np.concatenate([questions.skill, in_checks])],
        },
    )


def _shared_items(folder: Path, population: Population, d: Directory, rng: np.random.Generator, report: Report) -> None:
    """Stackable open courses share 35 to 70 % of their items with a degree course, others at most 20 %.

    What a second version replaces it replaces in both: the same share of it is shared.
    """
    courses, designs = population.courses, population.courses.designs
    rows = []
    for number, c in enumerate(np.flatnonzero(designs.role == course.OPEN)):
        into = stackable_into()[number]
        program = into if into >= 0 else rng.integers(0, len(world.programs()))
        target = rng.choice(np.flatnonzero((designs.program == program) & (designs.role == course.FIRST_TERM)))
        mine = np.arange(courses.item_start[c], courses.item_start[c + 1])
        theirs = np.arange(courses.item_start[target], courses.item_start[target + 1])
        share = rng.uniform(0.35, 0.7) if into >= 0 else rng.uniform(0, 0.2)
        count = int(np.ceil(share * len(mine))) if into >= 0 else int(share * len(mine))
        rows += [(c, i, target, theirs[k % len(theirs)]) for k, i in enumerate(rng.permutation(mine)[:count])]
    open_course, open_item, target, item = (np.array(column) for column in zip(*rows, strict=True))
    again = np.flatnonzero(d.has_second[target] & (d.item_code[item] != item))
    open_course, open_item, target = (np.append(ids, ids[again]) for ids in (open_course, open_item, target))
    item = np.append(item, d.item_code[item[again]])
    write_table(
        folder,
        report,
        "shared_items",
        {
            "open_course_id": d.course.take(open_course),
            "open_item_id": d.item.take(open_item),
            "course_id": d.course.take(target),
            "item_id": d.item.take(item),
        },
    )


def _enrollments(
    folder: Path,
    population: Population,
    d: Directory,
    every: Enrollments,
    first: int,
    completed_on: np.ndarray,
    opened: OpenEnrollments,
    sittings: Sittings,
    report: Report,
) -> None:
    """Course enrollments with their end, and what was earned."""
    rng = np.random.default_rng([population.seed, 16])
    n, opens = len(every), len(opened.enrollments)
    degree = np.arange(n) < n - opens
    is_open_completed = np.concatenate([np.zeros(n - opens, bool), opened.is_completed])
    end = every.start + np.where(degree, 7 * population.courses.weeks[every.course] + 7, OPEN_DAYS - 1)
    over = end <= LAST
    dropped = every.dropped_day >= 0
    dropped_on = np.where(dropped, every.start + every.dropped_day, np.datetime64("NaT"))
    dropped_on = np.where(dropped_on <= LAST, dropped_on, np.datetime64("NaT"))
    passed = over & np.where(degree, every.grade >= PASSING_GRADE, is_open_completed)
    enrolled = every.start.astype("datetime64[s]") - np.where(
        degree, rng.integers(3600, 25 * 86_400, n), rng.integers(60, 600, n)
    )
    again = np.flatnonzero((np.arange(n) < first) & (rng.random(n) < dirt.REENROLLMENT_RATE))
    report.dirt.add("course_enrollments", "reenrollment", len(again))
    check = np.flatnonzero(sittings.form == 0)
    rows = {
        "learner": np.concatenate([every.learner, every.learner[again], sittings.learner[check]]),
        "course": np.concatenate([every.course, every.course[again], len(population.courses) + sittings.skill[check]]),
        "term": np.concatenate([every.term, every.term[again], np.full(len(check), -1)]),
        "enrolled": np.concatenate(
            [
                enrolled,
                enrolled[again] - rng.integers(12 * 86_400, 20 * 86_400, len(again)),
                (sittings.day[check] * 86_400 + 14 * 3600).astype("datetime64[s]"),
            ]
        ),
        "dropped": np.concatenate(
            [dropped_on, (enrolled[again].astype("datetime64[D]") - 2), np.full(len(check), np.datetime64("NaT"))]
        ),
        "completed": np.concatenate(
            [np.where(passed, end, np.datetime64("NaT")), np.full(len(again) + len(check), np.datetime64("NaT"))]
        ),
        "paid": np.concatenate(
            [degree[: n - opens], opened.is_paid, np.ones(len(again), bool), np.zeros(len(check), bool)]
        ),
        "grade": np.concatenate(
            [np.where(over & ~dropped, every.grade, np.nan), np.full(len(again) + len(check), np.nan)]
        ),
    }
    order = np.lexsort((rows["course"], rows["learner"], rows["enrolled"]))
    rows = {name: column[order] for name, column in rows.items()}
    write_table(
        folder,
        report,
        "course_enrollments",
        {
            "learner_id": d.learner.take(rows["learner"]),
            "course_id": d.course.take(rows["course"]),
            "term_id": d.term.take(np.where(rows["term"] < 0, len(d.term) - 1, rows["term"])),
            "enrolled_at": rows["enrolled"],
            "dropped_on": rows["dropped"],
            "completed_on": rows["completed"],
            "is_paid": rows["paid"],
            "final_grade": rows["grade"],
        },
    )
    extra = max(3, round(len(order) * dirt.EXTRA_RATE))
    append_spoilt(
        folder,
        report,
        "course_enrollments",
        "malformed",
        [f"L{i + 1:07d},C0001,2023-fall,2023-99-99 00:00:00,,,true," for i in range(extra)],
    )
    append_spoilt(
        folder,
        report,
        "course_enrollments",
        "unknown_reference",
        [f"L{i + 1:07d},C9998,2023-fall,2023-09-01 00:00:00,,,true," for i in range(extra)],
    )
    earned = np.flatnonzero(is_open_completed & over)
    prior = np.flatnonzero(rng.random(len(d)) < 0.12)
    graduates = np.flatnonzero(~np.isnat(completed_on))
    issued = np.concatenate([end[earned] + 1, d.registered[prior] + 10, completed_on[graduates] + 14])
    sizes = [len(earned), len(prior), len(graduates)]
    kind = np.repeat(["course_certificate", "professional_certificate", "degree"], sizes)
    of_course = np.repeat(-1, len(issued))
    of_course[: len(earned)] = every.course[earned]
    of_program = np.repeat(-1, len(issued))
    of_program[len(earned) + len(prior) :] = population.learners["program"][graduates]
    keep = issued <= LAST
    program_ids = np.array(world.programs().ids, object)
    write_table(
        folder,
        report,
        "credentials",
        {
            "credential_id": [f"Q{i + 1:07d}" for i in range(int(keep.sum()))],
            "learner_id": d.learner.take(np.concatenate([every.learner[earned], prior, graduates])[keep]),
            "kind": kind[keep],
            "course_id": d.course.take(pa.array(of_course[keep], mask=of_course[keep] < 0)),
            "program_id": pa.array(program_ids[of_program[keep]], pa.string(), mask=of_program[keep] < 0),
            "issued_on": issued[keep],
        },
    )
