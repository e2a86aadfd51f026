"""The university as landing files of the contract `campus`.

Events are Parquet in files by the day on which they were received: a file a month for the history and a file a day for
the newest month. A file for every day would mean about 1,500 files, whose opening costs the loader more than their
rows; the newest days are what arrives daily, and what a replay of single days needs. Other tables are CSV: submissions,
their second marks and responses a file a month, the rest one file each.

The months are worked through in order. Day plans are drawn when an enrollment begins; a month's plans are expanded to
events chunk by chunk and written, so memory depends on the learners active in a month and not on the number of days.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.simulate import courses as course
from dagster_project.simulate import dirt, engagement, world
from dagster_project.simulate.courses import Courses
from dagster_project.simulate.delivery import Report, Sittings, append_lines, stamp, write_csv
from dagster_project.simulate.dirt import Dirt
from dagster_project.simulate.employers import Employers
from dagster_project.simulate.engagement import LATE_HAND_IN, Engagement
from dagster_project.simulate.enrollments import PASSING_GRADE, Assignments, Enrollments, assignments, first_terms
from dagster_project.simulate.events import FORUM, TYPES, DayPlan, Events, expand, plan_days
from dagster_project.simulate.history import (
    course_level,
    harder,
    later_courses,
    later_terms,
    open_content,
    open_courses,
    open_population,
    other_programs,
)
from dagster_project.simulate.places import Directory, write_directory
from dagster_project.simulate.population import Population
from dagster_project.simulate.second_marks import GRADERS, SecondMarks, grader_id
from dagster_project.simulate.skills import Bank, abilities, bank, checks, score
from dagster_project.simulate.tables import assignments_of
from dagster_project.simulate.trajectories import Trajectories
from dagster_project.simulate.variants import CHOSEN, FORGOTTEN, GROWTH, general_ability, growth_rates, liking

EPOCH_LAST = int(np.datetime64(world.LAST_DAY).astype(int))
DAY = 86_400
QUARTERS_SAMPLE = 2000  # learners whose abilities over time the truth tells
SCORE_DEVIATION = 14  # of the scores of a learner's items in a course
STAFF_GRADED = (course.STAFF, course.DISCUSSION, course.TEAM, course.OTHER)


def write(folder: Path, population: Population, *, disengagement: bool = True) -> Report:
    """Writes every landing file of a population.

    Args:
        folder: landing folder, made if missing; files of the same names are replaced.
        population: whose files.
        disengagement: whether those who will leave or fail fade before (module `engagement`).

    Returns:
        What was written, and what of the planted truth is drawn on the way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    registered, general = open_population(population)
    directory = Directory.make(population, registered)
    employers = Employers.make(population, directory.registered)
    theta = employers.moved(abilities(population, general))
    questions = bank(population)
    of_open, of_later = _likings(population, theta, general, questions)
    first, after = first_terms(population), later_terms(population, of_later)
    others = other_programs(population, after.completed_on)
    later = Enrollments.concatenate([after.enrollments, others.enrollments])
    graduation = {
        "within_first_year": int(population.learners["graduates"].sum()),
        "later": int((~np.isnat(after.completed_on) & ~population.learners["graduates"]).sum()),
        "then_began_another_program": len(others.learner),
    }
    unanswered = np.full(theta.shape, np.nan, np.float32)
    second_marks = SecondMarks(population.seed, SCORE_DEVIATION)
    report = Report({}, Dirt(), employers, directory.learner, unanswered, graduation, second_marks)
    opened = open_content(population, directory.registered, of_open)
    if disengagement:
        later = engagement.fade_later_terms(population, later)
    given = assignments_of(population, first)
    more = assignments(np.random.default_rng([population.seed, 10]), later, population.courses)
    given = Assignments(
        np.concatenate([given.enrollment, more.enrollment + len(first)]),
        np.concatenate([given.item, more.item]),
        np.concatenate([given.is_on_time, more.is_on_time]),
    )
    every = Enrollments.concatenate([first, later, opened.enrollments])
    engaged = engagement.draw(population, every) if disengagement else engagement.full(population, every)
    sittings = _sittings(population, len(directory))
    write_directory(
        folder,
        population,
        directory,
        every,
        len(first),
        after.completed_on,
        others,
        opened,
        questions,
        sittings,
        employers,
        report,
    )
    months = _Months(folder, population, directory, every, engaged, given, questions, theta, sittings, report)
    with months.pool:
        months.run()
    report.quarters = months.quarters()
    return report


def _likings(
    population: Population, theta: np.ndarray, others: np.ndarray, questions: Bank
) -> tuple[np.ndarray, np.ndarray | None]:
    """How much learners like open courses, and those of later terms; of these None: they take them by lot."""
    opens = open_courses(population)
    if population.skill_variant == CHOSEN:
        skills, mine = questions.course_skills, theta[: len(population)]
        return (
            liking(population, theta, skills, opens[None, :]),
            liking(population, mine, skills, later_courses(population)),
        )
    return harder(general_ability(population, others)[:, None], course_level(population)[opens]), None


def _sittings(population: Population, people: int) -> Sittings:
    """A fifth of all learners take a check of one skill twice, form A and, months later, form B."""
    rng = np.random.default_rng([population.seed, 11])
    who = np.flatnonzero(rng.random(people) < 0.2)
    program = np.zeros(people, np.int64)
    program[: len(population)] = population.learners["program"]
    program[len(population) :] = rng.integers(0, len(world.programs()), people - len(population))
    skill = (program[who] + rng.integers(0, 4, len(who))) % 12
    first = int(np.datetime64("2021-06-01").astype(int))
    day = rng.integers(first, EPOCH_LAST - 400, len(who))
    again = day + rng.integers(90, 390, len(who))
    return Sittings(np.tile(who, 2), np.tile(skill, 2), np.repeat([0, 1], len(who)), np.concatenate([day, again]))


class _Months:
    """Works through the calendar: begins enrollments, and writes what falls into each month."""

    def __init__(
        self,
        folder: Path,
        population: Population,
        directory: Directory,
        every: Enrollments,
        engaged: Engagement,
        given: Assignments,
        questions: Bank,
        theta: np.ndarray,
        sittings: Sittings,
        report: Report,
    ) -> None:
        self.folder, self.population, self.directory = folder, population, directory
        self.courses: Courses = population.courses
        self.every, self.questions, self.theta, self.sittings, self.report = every, questions, theta, sittings, report
        self.engaged = engaged
        self.checks = checks(population)
        self.rng = np.random.default_rng([population.seed, 20])
        self.answer_rng = np.random.default_rng([population.seed, 24])
        self.start = every.start.astype("datetime64[D]").astype(np.int64)
        self.given = given
        order = np.argsort(given.enrollment, kind="stable")
        self.given_order = order
        self.given_begin = np.searchsorted(given.enrollment[order], np.arange(len(every) + 1))
        weeks = self.courses.weeks[every.course]
        self.length = np.where(every.term >= 0, 7 * weeks, 21)
        end = self.start + self.length + 7
        passed = (every.grade >= PASSING_GRADE) & (end <= EPOCH_LAST)
        self.finished = np.flatnonzero(passed)[np.argsort(end[passed], kind="stable")]
        self.finished_day = end[self.finished]
        self.learned = 0
        self.trajectories = self._trajectories()
        self.answered_day = np.zeros(theta.shape, np.int64)  # of the last answer
        self.plan = DayPlan(*(np.zeros(0, np.int64) for _ in range(3)))
        self.late: dict[str, np.ndarray] | None = None
        self.next_event = 1
        self.pool = ThreadPoolExecutor(1)
        self.submissions: list[dict[str, np.ndarray]] = []
        self.responses: list[dict[str, np.ndarray]] = []
        self.marks: list[dict[str, np.ndarray]] = []
        self.second_marks = report.second_marks
        self.next_mark = 1

    def run(self) -> None:
        months = np.arange(
            self.start.astype("datetime64[D]").min().astype("datetime64[M]"),
            np.datetime64(world.LAST_DAY).astype("datetime64[M]") + 1,
        )
        begins = self.start.astype("datetime64[D]").astype("datetime64[M]")
        order = np.argsort(begins, kind="stable")
        cuts = np.searchsorted(begins[order], np.append(months, months[-1] + 1))
        for number, month in enumerate(months):
            first = int(month.astype("datetime64[D]").astype(np.int64))
            last = min(int((month + 1).astype("datetime64[D]").astype(np.int64)) - 1, EPOCH_LAST)
            self._learn(first)
            self._begin(order[cuts[number] : cuts[number + 1]])
            self._check(first, last)
            self._flush("submissions", self.submissions, month, last)
            self._flush("submission_marks", self.marks, month, last)
            self._flush("responses", self.responses, month, last)
            self._events(month, first, last)

    # Learning, submissions and answers

    def _trajectories(self) -> Trajectories:
        """Abilities day by day; answers follow them in the variant that grows, otherwise month by month."""
        grows = self.population.skill_variant == GROWTH
        number = np.repeat(self.every.course[self.finished], 2)
        which = np.tile([0, 1], len(self.finished))
        return Trajectories(
            start=self.theta.copy(),
            since=self.directory.registered.astype("datetime64[D]").astype(np.int64),
            growth=growth_rates(self.population, len(self.theta)),
            forgotten=FORGOTTEN if grows else 0.0,
            learner=np.repeat(self.every.learner[self.finished], 2),
            skill=self.questions.course_skills[number, which],
            day=np.repeat(self.finished_day, 2),
            gain=self.questions.gain[number, which],
        )

    def quarters(self) -> pa.Table:
        """Abilities at each quarter's end, since they registered, of some learners in the skills of their answers."""
        known = ~np.isnan(self.report.ability)
        people = np.flatnonzero(known.any(axis=1))
        rng = np.random.default_rng([self.population.seed, 29])
        sample = np.sort(rng.choice(people, min(QUARTERS_SAMPLE, len(people)), replace=False))
        row, skill = np.nonzero(known[sample])
        days = np.array([self.directory.registered.min(), np.datetime64(world.LAST_DAY)], "datetime64[M]")
        first, last = days.astype(np.int64) // 3  # quarters since 1970
        after = (3 * np.arange(first + 1, last + 2)).astype("datetime64[M]").astype("datetime64[D]")
        ends = np.minimum(after.astype(np.int64) - 1, EPOCH_LAST)
        row, end = np.repeat(row, len(ends)), np.tile(ends, len(row))
        skill = np.repeat(skill, len(ends))
        learner = sample[row]
        since = self.trajectories.since[learner] <= end
        learner, skill, end = learner[since], skill[since], end[since]
        return pa.table(
            {
                "learner_id": self.directory.learner.take(learner),
                "skill_id": pa.array([f"S{s + 1:02d}" for s in range(self.theta.shape[1])]).take(skill),
                "quarter_end": pa.array(end.astype("datetime64[D]")),
                "ability": self.trajectories.at(learner, skill, end).astype(np.float32),
            }
        )

    def _ability(self, learner: np.ndarray, skill: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Abilities of answers, and note of the last one of each learner."""
        if self.population.skill_variant != GROWTH:
            theta = self.theta[learner, skill]
            self.report.ability[learner, skill] = theta
            return theta
        theta = self.trajectories.at(learner, skill, day)
        order = np.argsort(day, kind="stable")
        order = order[((day >= self.answered_day[learner, skill]) & (day <= EPOCH_LAST))[order]]
        self.answered_day[learner[order], skill[order]] = day[order]
        self.report.ability[learner[order], skill[order]] = theta[order]
        return theta

    def _learn(self, day: int) -> None:
        """Adds the gains of courses finished before the day."""
        upto = int(np.searchsorted(self.finished_day, day))
        done = self.finished[self.learned : upto]
        self.learned = upto
        learner, number = self.every.learner[done], self.every.course[done]
        for k in range(2):
            np.add.at(self.theta, (learner, self.questions.course_skills[number, k]), self.questions.gain[number, k])

    def _begin(self, which: np.ndarray) -> None:
        """Draws the days of enrollments that begin, and what is handed in and answered on them."""
        if not len(which):
            return
        batch = self.every.take(which)
        engaged = self.engaged.take(which)
        plan = plan_days(self.rng, batch, self.courses, engaged)
        present = plan.seconds != FORUM
        self._submit(which, batch, engaged, plan.enrollment[present], plan.day[present])
        active = plan.seconds >= 0
        begin = np.searchsorted(plan.enrollment[active], np.arange(len(batch) + 1))
        self._answer(which, batch, plan.day[active], begin)
        known = self.start[which][plan.enrollment] + plan.day <= EPOCH_LAST
        parts = [
            (old, new[known])
            for old, new in (
                (self.plan.enrollment, which[plan.enrollment]),
                (self.plan.day, plan.day),
                (self.plan.seconds, plan.seconds),
            )
        ]
        self.plan = DayPlan(*(np.concatenate(part) for part in parts))

    def _submit(
        self, which: np.ndarray, batch: Enrollments, engaged: Engagement, row: np.ndarray, day: np.ndarray
    ) -> None:
        begin = np.searchsorted(row, np.arange(len(batch) + 1))
        size = self.given_begin[which + 1] - self.given_begin[which]
        of = np.repeat(np.arange(len(which)), size)
        at = self.given_order[
            np.repeat(self.given_begin[which], size) + np.arange(len(of)) - np.repeat(np.cumsum(size) - size, size)
        ]
        item, on_time = self.given.item[at], self.given.is_on_time[at]
        due = self.courses.item_due_day[item]
        # The last active day up to the due day, or the first one after it.
        key = row * 1000 + day
        after = np.searchsorted(key, of * 1000 + due, side="right")
        use = np.where(on_time, after - 1, after)
        handed_in = (use >= begin[of]) & (use < begin[of + 1])
        handed_in &= on_time | (self.rng.random(len(of)) < LATE_HAND_IN * engaged.take(of).on(due))
        if (on_time & ~handed_in).any():
            raise AssertionError(
                "an assignment is handed in on time by a learner without an active day before it was due"
            )
        of, item, use = of[handed_in], item[handed_in], use[handed_in]
        n = len(of)
        enrollment = which[of]
        submitted = (self.start[enrollment] + day[use]) * DAY + 13 * 3600 + self.rng.integers(0, 9 * 3600, n)
        level = batch.standing[of] + self.rng.normal(0, SCORE_DEVIATION, n)
        points = np.round(np.clip(level, 0, 100), 1)
        again = self.rng.random(n) < dirt.RESUBMISSION_RATE
        again &= (submitted // DAY + 1) <= EPOCH_LAST
        rows = {
            "enrollment": np.concatenate([enrollment, enrollment[again]]),
            "item": np.concatenate([item, item[again]]),
            "attempt": np.repeat([1, 2], [n, again.sum()]),
            "at": np.concatenate([submitted, submitted[again] + self.rng.integers(3600, DAY, again.sum())]),
            "score": np.concatenate(
                [points, np.round(np.minimum(points[again] + self.rng.uniform(0, 12, again.sum()), 100), 1)]
            ),
        }
        kind = self.courses.item_kind[rows["item"]]
        wait = np.where(
            np.isin(kind, STAFF_GRADED),
            self.rng.integers(2 * DAY, 9 * DAY, len(kind)),
            np.where(
                kind == course.PEER, self.rng.integers(3 * DAY, 6 * DAY, len(kind)), self.rng.integers(0, 60, len(kind))
            ),
        )
        rows["released"] = rows["at"] + wait
        self.submissions.append(rows)
        first = {name: rows[name][:n] for name in ("enrollment", "item", "at", "released", "score")}
        self.marks.append(self.second_marks.of(kind[:n], first, level, batch.standing[of]))

    def _answer(self, which: np.ndarray, batch: Enrollments, day: np.ndarray, begin: np.ndarray) -> None:
        first = self.questions.first
        size = np.where(begin[1:] > begin[:-1], first[batch.course + 1] - first[batch.course], 0)
        of = np.repeat(np.arange(len(which)), size)
        question = np.repeat(first[batch.course], size) + np.arange(len(of)) - np.repeat(np.cumsum(size) - size, size)
        answered = self.answer_rng.random(len(of)) < 0.85
        of, question = of[answered], question[answered]
        chosen = begin[of] + (self.answer_rng.random(len(of)) * (begin[of + 1] - begin[of])).astype(np.int64)
        enrollment = which[of]
        on = self.start[enrollment] + day[chosen]
        theta = self._ability(self.every.learner[enrollment], self.questions.skill[question], on)
        graded = self.questions.is_graded[question]
        self.responses.append(
            {
                "learner": self.every.learner[enrollment],
                "enrollment": enrollment,
                "question": question,
                "at": on * DAY + 14 * 3600 + self.answer_rng.integers(0, 6 * 3600, len(of)),
                "score": score(
                    self.answer_rng, theta, self.questions.slope[question], self.questions.difficulty[question], graded
                ),
            }
        )

    def _check(self, first: int, last: int) -> None:
        """Answers of the skill checks sat in the month."""
        now = np.flatnonzero((self.sittings.day >= first) & (self.sittings.day <= last))
        half = self.checks.slope.shape[1] // 2
        sitting = np.repeat(now, half)
        number = self.sittings.form[sitting] * half + np.tile(np.arange(half), len(now))
        learner, skill = self.sittings.learner[sitting], self.sittings.skill[sitting]
        theta = self._ability(learner, skill, self.sittings.day[sitting])
        plain = np.zeros(len(sitting), bool)
        self.responses.append(
            {
                "learner": learner,
                "enrollment": np.full(len(sitting), -1),
                "question": len(self.questions) + skill * 2 * half + number,
                "at": self.sittings.day[sitting] * DAY + 15 * 3600 + 60 * np.tile(np.arange(half), len(now)),
                "score": score(
                    self.answer_rng,
                    theta,
                    self.checks.slope[skill, number],
                    self.checks.difficulty[skill, number],
                    plain,
                ),
            }
        )

    def _flush(self, table: str, pending: list[dict[str, np.ndarray]], month: np.datetime64, last: int) -> None:
        """Writes what happened up to the end of the month, keeps the rest."""
        rows = {name: np.concatenate([part[name] for part in pending]) for name in pending[0]} if pending else None
        if rows is None:
            return
        now = rows["at"] // DAY <= last
        pending[:] = [{name: column[~now] for name, column in rows.items()}]
        rows = {name: column[now] for name, column in rows.items()}
        if not now.any():
            return
        order = np.lexsort((rows["score"], rows["at"]))
        rows = {name: column[order] for name, column in rows.items()}
        written = {
            "submissions": self._submission_table,
            "submission_marks": self._mark_table,
            "responses": self._response_table,
        }
        text = written[table](rows)
        path = self.folder / table / f"{table}-{month}.csv"
        path.parent.mkdir(exist_ok=True)
        write_csv(path, text)
        self.report.add(table, text.num_rows)
        if table == "submissions":
            self._spoil_submissions(path, text)

    def _submission_table(self, rows: dict[str, np.ndarray]) -> pa.Table:
        n = len(rows["at"])
        twice = np.flatnonzero(self.rng.random(n) < dirt.DUPLICATE_RATE)
        self.report.dirt.add("submissions", "duplicate", len(twice))
        self.report.dirt.add("submissions", "resubmission", (rows["attempt"] == 2).sum())
        keep = np.sort(np.concatenate([np.arange(n), twice]))
        rows = {name: column[keep] for name, column in rows.items()}
        released = rows["released"] < (EPOCH_LAST + 1) * DAY
        kind = self.courses.item_kind[rows["item"]]
        by = np.where(np.isin(kind, STAFF_GRADED), "staff", np.where(kind == course.PEER, "peer", "automatic"))
        d = self.directory
        return pa.table(
            {
                "learner_id": d.learner.take(self.every.learner[rows["enrollment"]]),
                "course_id": d.course.take(self.every.course[rows["enrollment"]]),
                "term_id": d.term.take(self.every.term[rows["enrollment"]]),
                "item_id": d.item_ids(rows["item"], self.every.term[rows["enrollment"]]),
                "attempt_number": rows["attempt"],
                "submitted_at": stamp(rows["at"]),
                "score": pa.array(rows["score"], mask=~released),
                "maximum_score": np.full(len(keep), 100.0),
                "grade_released_at": pa.array(rows["released"], mask=~released).cast(pa.timestamp("s")),
                "graded_by": pa.array(by.astype(object)),
            }
        )

    def _mark_table(self, rows: dict[str, np.ndarray]) -> pa.Table:
        n, d = len(rows["at"]), self.directory
        term = self.every.term[rows["enrollment"]]
        graders = pa.array([grader_id(number) for number in range(GRADERS)])
        number = pa.array(rows["grader"], mask=rows["grader"] < 0)
        ids = np.arange(self.next_mark, self.next_mark + n)
        self.next_mark += n
        return pa.table(
            {
                "mark_id": [f"M{i:07d}" for i in ids],
                "learner_id": d.learner.take(self.every.learner[rows["enrollment"]]),
                "course_id": d.course.take(self.every.course[rows["enrollment"]]),
                "term_id": d.term.take(term),
                "item_id": d.item_ids(rows["item"], term),
                "attempt_number": rows["attempt"],
                "graded_by": pa.array(["staff", "automatic"]).take(rows["by"]),
                "grader_id": graders.take(number),
                "score": rows["score"],
                "maximum_score": np.full(n, 100.0),
                "marked_at": stamp(rows["at"]),
            }
        )

    def _spoil_submissions(self, path: Path, good: pa.Table) -> None:
        """Appends rows that must be refused, and rows of items that do not exist."""
        n, rng = good.num_rows, self.rng
        lines = []
        for row in rng.integers(0, n, dirt.some(rng, n, dirt.EXTRA_RATE)):
            fields = [str(good.column(i)[int(row)].as_py() or "") for i in range(good.num_columns)]
            fields[4] = "9"  # an attempt of its own, so that no good row is touched
            case = int(rng.integers(0, 3))
            if case == 0:
                fields[6] = "n/a"
            elif case == 1:
                fields[5] = "2023-13-45 10:00:00"
            lines.append(",".join(fields if case < 2 else fields[:4]))
            self.report.dirt.add("submissions", "malformed", 1)
        for row in rng.integers(0, n, dirt.some(rng, n, dirt.EXTRA_RATE)):
            fields = [str(good.column(i)[int(row)].as_py() or "") for i in range(good.num_columns)]
            fields[3] = f"I9999-{row}"
            lines.append(",".join(fields))
            self.report.dirt.add("submissions", "unknown_reference", 1)
        append_lines(path, lines)
        self.report.add("submissions", len(lines))

    def _response_table(self, rows: dict[str, np.ndarray]) -> pa.Table:
        d, questions = self.directory, len(self.questions)
        is_check = rows["question"] >= questions
        graded = np.zeros(len(is_check), bool)
        graded[~is_check] = self.questions.is_graded[rows["question"][~is_check]]
        return pa.table(
            {
                "learner_id": d.learner.take(rows["learner"]),
                "question_id": d.question.take(rows["question"]),
                "question_version": np.ones(len(graded), np.int64),
                "attempt_number": np.ones(len(graded), np.int64),
                "course_id": d.question_course.take(rows["question"]),
                "item_id": d.question_item.take(rows["question"]),
                "answered_at": stamp(rows["at"]),
                "score": rows["score"].astype(float),
                "maximum_score": np.where(graded, 3.0, 1.0),
            }
        )

    # Events

    def _events(self, month: np.datetime64, first: int, last: int) -> None:
        """Expands the month's days and writes its files: one, or one a day in the newest month."""
        date = self.start[self.plan.enrollment] + self.plan.day
        now = date <= last
        later = DayPlan(self.plan.enrollment[~now], self.plan.day[~now], self.plan.seconds[~now])
        plan = DayPlan(self.plan.enrollment[now], self.plan.day[now], self.plan.seconds[now])
        self.plan, date = later, date[now]
        newest = last == EPOCH_LAST
        for begin, end, name in (
            [(d, d, str(np.datetime64(int(d), "D"))) for d in range(first, last + 1)]
            if newest
            else [(first, last, str(month))]
        ):
            which = np.flatnonzero((date >= begin) & (date <= end))
            which = which[np.argsort(date[which], kind="stable")]
            part = DayPlan(plan.enrollment[which], plan.day[which], plan.seconds[which])
            self._write_events(self.folder / "events" / f"events-{name}.parquet", part, date[which], end)

    def _write_events(self, path: Path, plan: DayPlan, date: np.ndarray, end: int) -> None:
        path.parent.mkdir(exist_ok=True)
        progress = np.minimum(plan.day / self.length[plan.enrollment], 1)
        learner, course_number = self.every.learner[plan.enrollment], self.every.course[plan.enrollment]
        chunks = expand(self.rng, plan, date, learner, course_number, progress, self.courses)
        with pq.ParquetWriter(
            path,
            EVENT_SCHEMA,
            compression="zstd",
            use_dictionary=["learner_id", "course_id", "term_id", "item_id", "event_type"],
            write_statistics=["occurred_at", "event_id"],
        ) as writer:
            written = None
            for rows in self._received(chunks, end):
                table = self._event_table(rows)
                self.report.add("events", table.num_rows)
                if written:
                    written.result()
                written = self.pool.submit(writer.write_table, table)  # compresses while the next chunk is made
            if written:
                written.result()

    def _received(self, chunks: Iterator[Events], end: int) -> Iterator[dict[str, np.ndarray]]:
        """Rows of a file: its events with their dirt; what is received later is held back for a later file."""
        rng, note = self.rng, self.report.dirt.add
        kept, late = [], None
        if self.late is not None:
            due = self.late["received"] // DAY <= end
            kept.append({name: column[~due] for name, column in self.late.items()})
            late = {name: column[due] for name, column in self.late.items()}
        for events in chunks:
            n = len(events)
            chance = rng.random(n)
            delay = 1 + (4 * rng.random(n)).astype(np.int64)
            is_late = chance < dirt.LATE_RATE
            delay[is_late] = rng.integers(DAY, 10 * DAY, is_late.sum())
            is_late &= (events.occurred + delay) // DAY <= EPOCH_LAST
            delay = np.where((events.occurred + delay) // DAY > EPOCH_LAST, 0, delay)
            ahead = (chance > 1 - dirt.CLOCK_AHEAD_RATE) & (events.occurred % DAY > 600)
            delay[ahead] = -rng.integers(1, 300, ahead.sum())
            rows = {
                "event_id": self.next_event + np.arange(n),
                "enrollment": events.enrollment,
                "item": events.item,
                "type": events.type.astype(np.int64),
                "occurred": events.occurred,
                "received": events.occurred + delay,
                "fault": np.zeros(n, np.int64),
            }
            self.next_event += n
            note("events", "late", is_late.sum())
            note("events", "clock_ahead", ahead.sum())
            twice = np.flatnonzero(rng.random(n) < dirt.DUPLICATE_RATE)
            note("events", "duplicate", len(twice))
            again = {name: column[twice] for name, column in rows.items()}
            rows = {name: np.concatenate([column, again[name][::2]]) for name, column in rows.items()}
            kept.append(
                {name: column[1::2] for name, column in again.items()}
            )  # the other half comes with a later file
            rows = self._extra(rows)
            held = rows["received"] // DAY > end
            kept.append({name: column[held] for name, column in rows.items()})
            rows = {name: column[~held] for name, column in rows.items()}
            order = np.argsort(rows["received"], kind="stable")
            swaps = 2 * np.flatnonzero(rng.random(len(order) // 2) < dirt.SWAP_RATE)
            differ = rows["received"][order[swaps]] != rows["received"][order[swaps + 1]]
            swaps = swaps[differ]
            order[swaps], order[swaps + 1] = order[swaps + 1].copy(), order[swaps].copy()
            note("events", "out_of_order", len(swaps))
            rows = {name: column[order] for name, column in rows.items()}
            if late is not None:  # at the head of the file: out of the order of time, as late rows come
                rows, late = {name: np.concatenate([late[name], column]) for name, column in rows.items()}, None
            yield rows
        if late is not None and len(late["event_id"]):
            yield late
        held_back = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]} if kept else None
        if held_back is not None and end == EPOCH_LAST and len(held_back["event_id"]):
            yield held_back  # redelivered on the last day, since no later file follows
            held_back = None
        self.late = held_back

    def _extra(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adds rows that are to be refused, and rows without an enrollment."""
        n = len(rows["event_id"])
        parts = [rows]
        for fault, kind in ((1, "clock_reset"), (2, "malformed"), (3, "unknown_reference")):
            copied = self.rng.integers(0, n, dirt.some(self.rng, n, dirt.EXTRA_RATE)) if n else np.zeros(0, np.int64)
            part = {name: column[copied] for name, column in rows.items()}
            part["event_id"] = self.next_event + np.arange(len(copied))
            part["fault"] = np.full(len(copied), fault)
            part["received"] = part["occurred"] + 1  # no other fault beside its own
            if fault == 1:
                part["occurred"] = self.rng.integers(0, 200 * DAY, len(copied))
            self.next_event += len(copied)
            self.report.dirt.add("events", kind, len(copied))
            parts.append(part)
        return {name: np.concatenate([part[name] for part in parts]) for name in rows}

    def _event_table(self, rows: dict[str, np.ndarray]) -> pa.Table:
        d = self.directory
        fault, enrollment = rows["fault"], rows["enrollment"]
        term = self.every.term[enrollment]
        number = np.where(fault == 3, d.unknown_course, self.every.course[enrollment])
        item = d.item_codes(rows["item"], term)
        return pa.table(
            {
                "event_id": rows["event_id"],
                "learner_id": _encoded(self.every.learner[enrollment], d.learner, fault == 2),
                "course_id": _encoded(number, d.course),
                "term_id": _encoded(d.term_code[np.where(term < 0, len(d.term) - 1, term)], d.term_id),
                "item_id": _encoded(np.maximum(item, 0), d.item, item < 0),
                "event_type": _encoded(rows["type"], pa.array(TYPES)),
                "occurred_at": stamp(rows["occurred"], "us"),
                "received_at": stamp(rows["received"], "us"),
            },
            schema=EVENT_SCHEMA,
        )


_TEXT = pa.dictionary(pa.int32(), pa.string())
EVENT_SCHEMA = pa.schema(
    [
        ("event_id", pa.int64()),
        ("learner_id", _TEXT),
        ("course_id", _TEXT),
        ("term_id", _TEXT),
        ("item_id", _TEXT),
        ("event_type", _TEXT),
        ("occurred_at", pa.timestamp("us")),
        ("received_at", pa.timestamp("us")),
    ]
)


def _encoded(codes: np.ndarray, names: pa.Array, mask: np.ndarray | None = None) -> pa.DictionaryArray:
    """Names by number as a dictionary array that holds only the names in use."""
    used = np.zeros(len(names), bool)
    used[codes] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    return pa.DictionaryArray.from_arrays(
        pa.array(number[codes], mask=mask), names.take(pa.array(np.flatnonzero(used)))
    )
