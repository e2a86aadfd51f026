"""Coursera's clickstream, written by hand, from gzipped files without header to seconds watched and time on task."""

import pytest

from tests.models.made_source import MadeWarehouse
from tests.platforms.delivery import SOURCE, Delivery
from tests.platforms.written_coursera import ROWS, click, pack, write

LECTURE = "https://www.coursera.org/learn/statistics/lecture/aB3dE/welcome?token=secret"
PAGE_OF_FORUM = "https://www.coursera.org/learn/statistics/discussions/weeks/1"
# Ana plays 17 seconds, waits half a minute, plays on, jumps to 60, and from 65 on watches at double speed.
VIEWING = [
    ("10:00:00", "start", {"timecode": 0}),
    ("10:00:05", "heartbeat", {"timecode": 5.02, "playback_rate": 1}),
    ("10:00:10", "heartbeat", {"timecode": 10, "playback_rate": 1}),
    ("10:00:15", "heartbeat", {"timecode": 15.01, "playback_rate": 1}),
    ("10:00:17", "pause", {"timecode": 17}),
    ("10:00:47", "play", {"timecode": 17}),
    ("10:00:52", "heartbeat", {"timecode": 22, "playback_rate": "1"}),
    ("10:00:54", "seek", {"timecode": 60}),
    ("10:00:59", "heartbeat", {"timecode": 65}),
    ("10:00:59.5", "playback_rate_change", {"timecode": 65, "playback_rate": 2, "playback_rate_delta": 1}),
    ("10:01:04", "heartbeat", {"timecode": 75, "playback_rate": 2}),
    ("10:01:09", "heartbeat", {"timecode": 85, "playback_rate": 2}),
    ("10:01:10", "end", {"timecode": 86}),
]
VISITS = [
    ("ana", "09:59:30", LECTURE, "page_requested", {}),
    ("ana", "09:59:31", LECTURE, "pageview", {}),
    ("ana", "10:02:00", PAGE_OF_FORUM, "pageview", {}),
    ("ana", "10:03:00", "https://www.coursera.org/learn/statistics/home/welcome", "pageview", {"item_id": "quiz"}),
    ("", "10:04:00", "https://www.coursera.org/learn/statistics", "pageview", {}),
    ("bo", "11:00:00", "https://www.coursera.org/learn/statistics/home/week/1", "pageview", {}),
]


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    folder = tmp_path_factory.mktemp("clickstream")
    landing = folder / "landing"
    write(landing, {name: text.replace(" vid ", " aB3dE ") for name, text in ROWS.items()})
    viewing = [click("ana", f"2024-06-06 {at}", LECTURE, key, value) for at, key, value in VIEWING]
    visits = [click(who, f"2024-06-06 {at}", url, key, value) for who, at, url, key, value in VISITS]
    broken = click("ana", "2024-06-06 10:01:11", LECTURE, "heartbeat", '{"timecode": 90, "playb')
    short = ",".join(viewing[0].split(",")[:13]) + "\n"
    next_day = [click("ana", "2024-06-07 08:00:05", LECTURE, "heartbeat", {"timecode": 5, "playback_rate": 1})]
    pack(landing / "video-2024-06-06.csv.gz", [*viewing, broken, short])
    pack(landing / "access-2024-06-06.csv.gz", visits)
    pack(landing / "video-2024-06-07.csv.gz", next_day)
    pack(landing / "video-2024-06-07-again.csv.gz", next_day)
    pack(landing / "access-2024-06-07.csv.gz", [])
    return Delivery("coursera", landing, folder / "home")


@pytest.fixture(scope="module")
def core(delivery: Delivery) -> MadeWarehouse:
    made = MadeWarehouse(delivery.settings.home)
    wanted = ("+fct_video_watch", "+mart_time_on_task", "+mart_person_course", "+mart_person_course_day")
    made.build("run", "--select", *wanted, "+fct_daily_activity", "+fct_held_rows")
    return made


def test_every_line_is_in_raw_or_in_quarantine(delivery):
    load = delivery.loads["clickstream"]
    assert {file.name: (file.accepted, file.refused) for file in load.files} == {
        "access-2024-06-06.csv": (len(VISITS), 0),
        "access-2024-06-07.csv": (0, 0),
        "video-2024-06-06.csv": (len(VIEWING), 2),
        "video-2024-06-07-again.csv": (1, 0),
        "video-2024-06-07.csv": (1, 0),
    }
    files = delivery.settings.quarantine_dir / "coursera/clickstream" / f"source={SOURCE}" / "*.parquet"
    assert delivery.query(f"select record, reason from read_parquet('{files}') order by record") == [
        (14, 'column value: \'{"timecode": 90, "playb\' is not of type json'),
        (15, "13 fields, expected 16"),
    ]
    assert delivery.failures == delivery.warnings == []


def test_nothing_of_computers_and_addresses_is_written(delivery):
    columns = {name for (name, *_) in delivery.query("describe raw_coursera.clickstream")}
    expected = {"source", "user_id", "server_timestamp", "page", "course_id", "key", "value"}
    assert columns == expected | {"event_date", "_file", "_record"}
    assert delivery.query("select distinct page from raw_coursera.clickstream order by all") == [
        ("discussions/weeks",), ("home",), ("lecture/aB3dE",), (None,),
    ]  # fmt: skip
    for table in ("raw", "quarantine"):
        for path in (delivery.settings.home / table / "coursera/clickstream").rglob("*.parquet"):
            written = str(delivery.query(f"from read_parquet('{path}')"))
            assert not any(word in written for word in ("cookie-1", "ip-1", "secret", "from.example", "'ana'"))


def test_clicks_are_events_of_the_session_with_their_item(delivery):
    day = "occurred_on = '2024-06-06' and event_id is not null"
    columns = ("event_type", "item_id", "term_id", "click_count", "occurred_at")
    found = delivery.rows("events", *columns, where=f"{day} and event_type not like 'video%'")
    assert found == [
        ("forum_view", None, "summer", 1, "2024-06-06 10:02:00"),
        ("page_requested", "aB3dE", "summer", 0, "2024-06-06 09:59:30"),
        ("page_viewed", "aB3dE", "summer", 1, "2024-06-06 09:59:31"),
        ("page_viewed", "quiz", "summer", 1, "2024-06-06 10:03:00"),
        ("page_viewed", None, "spring", 1, "2024-06-06 11:00:00"),
    ]
    videos = delivery.query(
        "select event_type, count(*), sum(click_count) from staging.stg_coursera__events "
        f"where {day} and item_id = 'aB3dE' and event_type like 'video%' group by event_type order by event_type"
    )
    assert videos == [
        ("video_completed", 1, 0),
        ("video_heartbeat", 7, 0),
        ("video_paused", 1, 1),
        ("video_played", 2, 2),
        ("video_seeked", 1, 1),
        ("video_speed_changed", 1, 1),
    ]


def test_a_heartbeat_is_five_seconds_times_the_speed_up_to_its_place(delivery):
    columns = ("action", "position_seconds", "from_seconds", "to_seconds", "playback_rate")
    jump = "occurred_at between '2024-06-06 10:00:50' and '2024-06-06 10:01:05'"
    found = delivery.rows("video_events", *columns, where=jump)
    assert found == [
        ("heartbeat", 22.0, 17.0, 22.0, 1.0),
        ("heartbeat", 65.0, 60.0, 65.0, None),
        ("heartbeat", 75.0, 65.0, 75.0, 2.0),
        ("seek", None, None, 60.0, None),
        ("speed", 65.0, None, None, 2.0),
    ]


def test_seconds_of_videos_are_watched_as_heartbeats_say(core):
    """On the first day 1 to 15, 18 to 22, 61 to 65 and, twice as fast, 66 to 85; on the next day 1 to 5 again."""
    found = core.query("select item_id, first_second, last_second, watch_count from core.fct_video_watch order by all")
    assert found == [("aB3dE", 1, 5, 2), ("aB3dE", 6, 15, 1), ("aB3dE", 18, 22, 1), ("aB3dE", 61, 85, 1)]
    (ana,) = core.query(
        "select watched_video_count, distinct_watched_minutes * 60, watched_minutes * 60 from marts.mart_person_course "
        "where watched_minutes > 0"
    )
    assert ana == pytest.approx((1, 15 + 5 + 25, 15 + 5 + 25 + 5))


def test_clicks_are_time_on_task(core):
    """From 9:59:30 to 10:03:00; the lecture until 10:01:10, then the forum until 10:02:00, then the quiz."""
    minutes = ("total_5", "serial_video_5", "serial_forum_5", "serial_problem_5", "video_5")
    columns = ", ".join(f"{name}_minutes * 60" for name in minutes)
    (ana,) = core.query(
        f"select {columns} from marts.mart_time_on_task where activity_on = '2024-06-06' and total_5_minutes > 0"
    )
    assert ana == pytest.approx((210, 100, 50, 60, 100))
    counts = ("event_count", "play_count", "pause_count", "seek_count", "page_count", "forum_view_count")
    (counted,) = core.query(
        f"select {', '.join(counts)} from marts.mart_person_course_day "
        "where activity_on = '2024-06-06' and video_event_count > 0"
    )
    assert counted == (17, 2, 1, 1, 2, 1)
    (day,) = core.query(
        "select event_count, click_count, learning_seconds from core.fct_daily_activity "
        "where activity_on = '2024-06-06' and learning_seconds > 0"
    )
    assert day == (17, 8, 210)


def test_a_click_that_is_delivered_twice_counts_once(core):
    assert core.query(
        "select event_count from marts.mart_person_course_day where activity_on = '2024-06-07'"
    ) == [(1,)]  # fmt: skip
