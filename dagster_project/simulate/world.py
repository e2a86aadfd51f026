"""What every simulated university shares: programs, calendars, places and words. Nothing here depends on the seed.

Programs keep their effects and course-design habits from seed to seed: they are the population the figures are about,
not a sample of it.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np

WORLD_SEED = 20_210_901
EFFECT_DEVIATION = 0.13  # of the programs' effects on the logit of retention
FIRST_YEAR = 2021
LAST_DAY = date(2025, 10, 31)  # the newest day of data
TERM_DAYS = 84
DROP_DEADLINE_DAY = 21
FIRST_DUE_DAY = 9
SEASONS = ("spring", "summer", "fall", "winter")
SEASON_START = {"spring": (1, 10), "summer": (5, 16), "fall": (9, 5), "winter": (12, 30)}
# Calendars by number of the program. The others have terms of their own in fall, spring and, but for some, summer.
TWO_FALLS = (2, 12, 17)  # a second session, optional, four weeks after the first
SECOND_FALL_AFTER = 28  # days
QUARTERS = (8, 15)  # fall, a winter over new year, a late spring, no summer
LATE_SPRING = (3, 28)
INSTITUTION = (3, 5, 9, 13)  # fall and spring are the whole institution's, told without a program
INSTITUTION_SPRING_FROM = 2023  # year from which that spring is obligatory
SHORT = (2, 9, 11, 16)  # programs that some complete within their first year
FIRST_TERM_COURSES = 24  # a program; co-taken courses are then nearly independent within it
LATER_COURSES = 12
OPEN_COURSES = 57

REGIONS: dict[str, tuple[str, ...]] = {
    "North America": ("US", "CA", "MX", "PR"),
    "Latin America": (
        "BR",
        "CO",
        "AR",
        "CL",
        "PE",
        "EC",
        "VE",
        "GT",
        "CR",
        "PA",
        "UY",
        "BO",
        "DO",
        "HN",
        "SV",
        "PY",
        "NI",
    ),
    "Europe": (
        "GB",
        "DE",
        "FR",
        "ES",
        "IT",
        "NL",
        "PL",
        "PT",
        "SE",
        "CH",
        "AT",
        "BE",
        "IE",
        "DK",
        "NO",
        "FI",
        "GR",
        "CZ",
        "RO",
        "HU",
        "UA",
        "BG",
        "RS",
        "HR",
        "SK",
        "LT",
        "LV",
        "EE",
        "IS",
        "SI",
        "LU",
    ),
    "Africa and Middle East": (
        "NG",
        "EG",
        "KE",
        "ZA",
        "GH",
        "MA",
        "SA",
        "AE",
        "TN",
        "ET",
        "UG",
        "JO",
        "LB",
        "QA",
        "KW",
        "OM",
        "BH",
        "RW",
        "SN",
        "CM",
        "TZ",
        "ZM",
        "CI",
        "DZ",
        "IQ",
        "TR",
    ),
    "South Asia": ("IN", "PK", "BD", "LK", "NP"),
    "East Asia and Pacific": ("CN", "SG", "JP", "KR", "PH", "ID", "VN", "TH", "MY", "HK", "TW", "AU", "NZ", "KH", "MM"),
}
REGION_SHARE = np.array([0.34, 0.11, 0.18, 0.12, 0.14, 0.11])
EDUCATION = ("secondary", "some_college", "bachelor", "master", "doctorate")
EMPLOYMENT = ("full_time", "part_time", "self_employed", "unemployed", "student")
EMPLOYMENT_SHARE = np.array([0.66, 0.10, 0.08, 0.10, 0.06])

SUBJECTS = (
    "Data Science",
    "Computer Science",
    "Business Administration",
    "Public Health",
    "Accounting",
    "Machine Learning",
    "Applied Economics",
    "Cyber Security",
    "Electrical Engineering",
    "Marketing",
    "Psychology",
    "Management",
    "Innovation Management",
    "Statistics",
    "Construction Management",
    "Information Science",
    "Finance",
    "Software Engineering",
    "Political Science",
)
UNIVERSITIES = (
    "Northfield University",
    "Imperium College",
    "Lakeshore State University",
    "University of the Andes Valley",
    "Rhine Institute of Technology",
    "Harbour University",
    "Meridian School of Economics",
)
LANGUAGES = ("en", "en", "en", "en", "es", "en", "en")
INDUSTRIES = ("technology", "finance", "health", "manufacturing", "public_sector", "retail", "consulting", "energy")

# Latent columns of a course's design. Their correlation with the program effect is what makes naive figures wrong.
DESIGN = (
    "peer",
    "staff",
    "programming",
    "discussion",
    "team",
    "quiz",
    "peer_part",
    "quiz_part",
    "staff_part",
    "practice",
    "reading",
    "other",
    "centroid",
    "max_weight",
    "video_centroid",
    "density",
    "weeks",
    "late_penalty",
    "assignment_group",
    "plugin",
)
PROGRAM_LOADING = dict.fromkeys(DESIGN, 0.45) | {"density": 0.30, "weeks": 0.25, "other": 0.2}
PROGRAM_EFFECT_CORRELATION = {
    "staff": -0.75,
    "peer": -0.5,
    "programming": -0.4,
    "quiz": 0.5,
    "peer_part": -0.7,
    "quiz_part": 0.7,
    "staff_part": 0.75,
    "practice": -0.7,
    "reading": -0.7,
    "centroid": 0.7,
    "max_weight": -0.7,
    "video_centroid": -0.7,
    "density": 0.2,
    "late_penalty": 0.5,
}
# One factor ("modern course") ties the designs of a course together and draws motivated learners.
FACTOR_LOADING = {
    "staff": -0.25,
    "practice": -0.25,
    "centroid": 0.3,
    "max_weight": -0.3,
    "video_centroid": -0.3,
    "density": 0.3,
    "late_penalty": 0.3,
}


@dataclass(frozen=True)
class Programs:
    """Arrays over the 19 programs."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    universities: tuple[str, ...]
    levels: tuple[str, ...]
    languages: tuple[str, ...]
    share: np.ndarray  # of the learners
    effect: np.ndarray  # on the logit of retention
    terms_per_year: np.ndarray
    terms_may_be_missed: np.ndarray
    load: np.ndarray  # shift of the first-term load
    start_shift: np.ndarray  # days after the season's nominal start
    design: np.ndarray  # (programs, DESIGN) normal scores

    def __len__(self) -> int:
        return len(self.ids)


@cache
def programs() -> Programs:
    """The programs."""
    rng = np.random.default_rng(WORLD_SEED)
    n = len(SUBJECTS)
    standard = rng.permutation(np.linspace(-1.6, 1.6, n))
    standard /= standard.std()
    share = rng.permutation(np.exp(np.linspace(-0.9, 0.9, n)))
    design = np.empty((n, len(DESIGN)))
    for j, name in enumerate(DESIGN):
        noise = rng.standard_normal(n)
        noise -= standard * (noise @ standard) / n + noise.mean()
        noise /= noise.std()
        r = PROGRAM_EFFECT_CORRELATION.get(name, 0.0)
        design[:, j] = r * standard + np.sqrt(1 - r * r) * noise
    level = np.where(np.arange(n) % 4 == 3, "bachelor", "master")
    house = rng.integers(0, len(UNIVERSITIES), n)
    return Programs(
        ids=tuple(f"P{i + 1:02d}" for i in range(n)),
        names=tuple(
            f"{'Bachelor' if v == 'bachelor' else 'Master'} of {s}" for v, s in zip(level, SUBJECTS, strict=True)
        ),
        universities=tuple(UNIVERSITIES[i] for i in house),
        levels=tuple(level.tolist()),
        languages=tuple(LANGUAGES[i] for i in house),
        share=share / share.sum(),
        effect=EFFECT_DEVIATION * standard,
        terms_per_year=_terms_per_year(rng.permutation(n) < 12),
        terms_may_be_missed=rng.integers(0, 3, n),
        load=rng.normal(0, 0.35, n),
        start_shift=rng.integers(0, 15, n),
        design=design,
    )


def _terms_per_year(has_summer: np.ndarray) -> np.ndarray:
    number = np.arange(len(has_summer))
    return np.where(np.isin(number, QUARTERS), 3, 2 + has_summer + np.isin(number, TWO_FALLS))


@dataclass(frozen=True)
class Terms:
    """Arrays over program × term, ordered by program and start. Dates as days (numpy datetime64[D]).

    Programs use the same ids for terms of their own, as institutions do: a term is known by program and id.
    """

    program: np.ndarray
    id: np.ndarray
    season: np.ndarray  # number in SEASONS
    start: np.ndarray
    is_required: np.ndarray
    is_institutional: np.ndarray  # a term of the whole institution
    entry: np.ndarray  # how many begin in it, in proportion
    first_later: np.ndarray  # numbers of the first and the last term of the window a year later (`_window`), -1: none
    last_later: np.ndarray
    next_year: np.ndarray  # of these the required one, then the one nearest to a year later; -1: none

    def __len__(self) -> int:
        return len(self.program)


@cache
def terms() -> Terms:
    """The calendars: from fall of the first year to fall of the year after the last day."""
    rng = np.random.default_rng(WORLD_SEED + 1)
    world = programs()
    rows = []
    for p in range(len(world)):
        # Some programs make the summer obligatory from some year on: season then does not give "required" away.
        summer_from = int(rng.integers(FIRST_YEAR, LAST_DAY.year + 3))
        spring_from = int(rng.integers(FIRST_YEAR - 2, LAST_DAY.year + 2)) + 1
        for year in range(FIRST_YEAR, LAST_DAY.year + 2):
            rows += _terms_of(p, year, summer_from, spring_from, int(world.start_shift[p]))
    rows.sort(key=lambda row: (row[0], row[3]))
    program, name, season, start, required, institutional, entry = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    start = start.astype("datetime64[D]")
    windows = [_window(t, np.flatnonzero(program == program[t]), start, required) for t in range(len(rows))]
    return Terms(program, name, season, start, required, institutional, entry, *np.array(windows).T)


def _terms_of(p: int, year: int, summer_from: int, spring_from: int, shift: int) -> list[tuple]:
    """A program's terms of a calendar year: program, id, season, start, required, the institution's, entry."""
    quarters, institutional = p in QUARTERS, p in INSTITUTION
    rows = []

    def add(season: str, start: date, required: bool, entry: float, *, shared: bool = False, session: str = "") -> None:
        begin = start if shared or season == "winter" else start + timedelta(days=shift)
        name = f"{year}-{season}{session}"
        rows.append((p, name, SEASONS.index(season), np.datetime64(begin), required, shared, entry))

    if year > FIRST_YEAR:
        if quarters:
            add("winter", date(year - 1, *SEASON_START["winter"]), year >= spring_from, 0.75)
            add("spring", date(year, *LATE_SPRING), year >= summer_from, 0.4)
        else:
            required = year >= (INSTITUTION_SPRING_FROM if institutional else spring_from)
            add("spring", date(year, *SEASON_START["spring"]), required, 0.75, shared=institutional)
        if programs().terms_per_year[p] - (p in TWO_FALLS) == 3 and not quarters:
            add("summer", date(year, *SEASON_START["summer"]), year >= summer_from, 0.4)
    fall = date(year, *SEASON_START["fall"])
    add("fall", fall, True, 0.6 if p in TWO_FALLS else 1.0, shared=institutional)
    if p in TWO_FALLS:
        add("fall", fall + timedelta(days=SECOND_FALL_AFTER), False, 0.4, session="-2")
    return rows


def _window(t: int, mine: np.ndarray, start: np.ndarray, required: np.ndarray) -> tuple[int, int, int]:
    """Where a learner is looked for a year after first term `t`: first and last term of the window, and the next one.

    The window reaches 60 days to both sides of the day 365 days later, at most half the median gap between the
    program's starts, and 30 at least.
    """
    reach = np.clip(np.median(np.diff(start[mine]).astype(int)) / 2, 30, 60)
    distance = np.abs((start[mine] - start[t]).astype(int) - 365)
    window = mine[distance <= reach]
    if not len(window):
        return -1, -1, -1
    following = min(window, key=lambda later: (not required[later], distance[later - mine[0]]))
    return window[0], window[-1], following


def calendars() -> dict[str, str]:
    """Calendar of each program, in words."""
    words = {
        **dict.fromkeys(TWO_FALLS, "two sessions in fall, spring"),
        **dict.fromkeys(QUARTERS, "fall, winter from 30 December, spring from the end of March"),
        **dict.fromkeys(INSTITUTION, "fall and spring of the whole institution"),
    }
    calendar = terms()
    summers = {int(p) for p in calendar.program[calendar.season == SEASONS.index("summer")]}
    return {
        name: words.get(p, "fall and spring") + (", summer" if p in summers else ", no summer")
        for p, name in enumerate(programs().ids)
    }


@cache
def matured() -> np.ndarray:
    """Which terms are first terms with a known outcome: the last drop deadline of the window a year later is over."""
    calendar = terms()
    later = calendar.start[calendar.last_later]
    return (calendar.last_later >= 0) & (later + DROP_DEADLINE_DAY < np.datetime64(LAST_DAY))


@cache
def running() -> np.ndarray:
    """Which terms have begun without a known outcome for those who begin in them."""
    return ~matured() & (terms().start + DROP_DEADLINE_DAY < np.datetime64(LAST_DAY))
