"""What every simulated university shares: programs, their calendar, places and words. Nothing here depends on the seed.

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
SEASONS = ("spring", "summer", "fall")
SEASON_START = {"spring": (1, 10), "summer": (5, 16), "fall": (9, 5)}
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
        terms_per_year=np.where(rng.permutation(n) < 12, 3, 2),
        terms_may_be_missed=rng.integers(0, 3, n),
        load=rng.normal(0, 0.35, n),
        start_shift=rng.integers(0, 15, n),
        design=design,
    )


@dataclass(frozen=True)
class Terms:
    """Arrays over program × term, ordered by program and start. Dates as days (numpy datetime64[D])."""

    program: np.ndarray
    season: np.ndarray  # number in SEASONS
    year: np.ndarray
    start: np.ndarray
    is_required: np.ndarray
    next_year: np.ndarray  # number of the term one year later, -1 beyond the calendar

    def __len__(self) -> int:
        return len(self.program)

    def ids(self) -> np.ndarray:
        """Names like P03-2022-fall."""
        names = programs().ids
        return np.array(
            [f"{names[p]}-{y}-{SEASONS[s]}" for p, y, s in zip(self.program, self.year, self.season, strict=True)]
        )


@cache
def terms() -> Terms:
    """The calendar: from fall of the first year to fall of the year after the last day."""
    rng = np.random.default_rng(WORLD_SEED + 1)
    world = programs()
    rows = []
    for p in range(len(world)):
        # Some programs make the summer obligatory from some year on: season then does not give "required" away.
        summer_from = rng.integers(FIRST_YEAR, LAST_DAY.year + 3)
        spring_until = rng.integers(FIRST_YEAR - 2, LAST_DAY.year + 2)
        for year in range(FIRST_YEAR, LAST_DAY.year + 2):
            for s, season in enumerate(SEASONS):
                if (year == FIRST_YEAR and season != "fall") or (season == "summer" and world.terms_per_year[p] == 2):
                    continue
                start = date(year, *SEASON_START[season]) + timedelta(days=int(world.start_shift[p]))
                required = {"fall": True, "spring": year > spring_until, "summer": year >= summer_from}[season]
                rows.append((p, s, year, np.datetime64(start), required))
    program, season, year, start, required = (np.array(column) for column in zip(*rows, strict=True))
    number = {(p, s, y): i for i, (p, s, y) in enumerate(zip(program, season, year, strict=True))}
    following = np.array([number.get((p, s, y + 1), -1) for p, s, y in zip(program, season, year, strict=True)])
    return Terms(program, season, year, start.astype("datetime64[D]"), required, following)


@cache
def matured() -> np.ndarray:
    """Which terms are first terms with a known outcome: a year later the drop deadline has passed."""
    calendar = terms()
    later = calendar.start[calendar.next_year]
    return (calendar.next_year >= 0) & (later + DROP_DEADLINE_DAY < np.datetime64(LAST_DAY))


@cache
def running() -> np.ndarray:
    """Which terms have begun without a known outcome for those who begin in them."""
    return ~matured() & (terms().start + DROP_DEADLINE_DAY < np.datetime64(LAST_DAY))
