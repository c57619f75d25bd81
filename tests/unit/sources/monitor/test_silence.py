"""How often a source speaks, and since when it does not."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fakes.clock import START, FakeClock
from zenwatch.sources.monitor.silence import MOST_DAYS, MOST_SILENCES, SilenceDetector

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
AT_LEAST_SECS = 26 * HOUR
# The same examples every time: a build fails for what was changed, not for luck.
SETTINGS = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def silence(clock: FakeClock) -> SilenceDetector:
    return SilenceDetector(clock, at_least_secs=AT_LEAST_SECS)


def speak(silence: SilenceDetector, clock: FakeClock, *gaps_secs: float) -> datetime:
    """After each of these. Return when it was last."""
    for secs in gaps_secs:
        clock.advance(secs=secs)
        silence.record_activity()
    return clock.now()


def silence_after(silence: SilenceDetector, clock: FakeClock, secs: float) -> datetime | None:
    clock.advance(secs=secs)
    return silence.silent_since(is_installed=True)


def limit_secs_of(silence: SilenceDetector) -> float | None:
    return silence.silent_after_secs


# ---------------------------------------------------------------- silence


def test_a_source_is_silent_once_its_time_is_up(silence: SilenceDetector, clock: FakeClock) -> None:
    """Silent since the last data, not since we noticed."""
    last = speak(silence, clock, HOUR)

    assert silence_after(silence, clock, AT_LEAST_SECS) is None
    assert silence_after(silence, clock, 1) == last == silence.last_data_at


def test_what_speaks_is_not_silent_any_more(silence: SilenceDetector, clock: FakeClock) -> None:
    """One word is enough."""
    speak(silence, clock, HOUR)
    assert silence_after(silence, clock, 2 * DAY) is not None

    silence.record_activity()

    assert silence.silent_since(is_installed=True) is None


def test_a_tool_that_never_spoke_is_silent_since_we_listen(silence: SilenceDetector, clock: FakeClock) -> None:
    """A tool that was installed and set up wrong says nothing from the first day."""
    assert silence_after(silence, clock, AT_LEAST_SECS) is None
    assert silence_after(silence, clock, 1) == START
    assert silence.last_data_at is None


@pytest.mark.parametrize("gaps_secs", [(), (HOUR,)])
def test_a_tool_that_is_not_installed_is_never_silent(silence: SilenceDetector, clock: FakeClock, gaps_secs: tuple[float, ...]) -> None:
    """Whether it never was there or was removed."""
    speak(silence, clock, *gaps_secs)
    clock.advance(secs=30 * DAY)

    assert silence.silent_since(is_installed=False) is None


def test_a_source_whose_silence_is_good_news_is_silent_only_against_its_usual_pause(clock: FakeClock) -> None:
    """Falco that never saw anything may be as well as it looks; Falco that sent something every few minutes and stopped is not."""
    falco = SilenceDetector(clock, at_least_secs=HOUR, needs_usual_pause=True)
    assert silence_after(falco, clock, 30 * DAY) is None

    speak(falco, clock, 0, 5 * MINUTE, 5 * MINUTE)
    assert limit_secs_of(falco) is None
    assert silence_after(falco, clock, 5 * MINUTE) is None

    last = speak(falco, clock, 0)
    assert limit_secs_of(falco) == HOUR
    assert silence_after(falco, clock, HOUR + 1) == last


# ---------------------------------------------------------------- the usual pause


def test_the_usual_pause_is_the_longest_of_the_last(silence: SilenceDetector, clock: FakeClock) -> None:
    """Three times as long is silence."""
    speak(silence, clock, 0, DAY, 20 * HOUR, DAY, HOUR)

    assert silence.silent_after_secs == 3 * DAY


def test_a_burst_teaches_nothing(silence: SilenceDetector, clock: FakeClock) -> None:
    """A scan of a hundred images leaves a hundred reports: they do not push out the day between two scans."""
    speak(silence, clock, 0, DAY)

    speak(silence, clock, *[2.0] * 500)

    assert silence.silent_after_secs == 3 * DAY


def test_a_busy_day_does_not_make_the_weekend_be_forgotten(clock: FakeClock) -> None:
    """The longest pause of each day counts, so hundreds of short ones on the next day change nothing."""
    falco = SilenceDetector(clock, at_least_secs=DAY, needs_usual_pause=True)
    speak(falco, clock, 0, 2.5 * DAY)

    speak(falco, clock, *[2 * MINUTE] * 1000)

    assert falco.silent_after_secs == 7.5 * DAY


def test_an_old_usual_pause_is_forgotten(silence: SilenceDetector, clock: FakeClock) -> None:
    """After so many days on which it spoke more often."""
    speak(silence, clock, 0, DAY, DAY)

    speak(silence, clock, *[10 * HOUR] * 60)

    assert silence.silent_after_secs == 30 * HOUR


def test_one_outage_does_not_become_the_usual_pause(silence: SilenceDetector, clock: FakeClock) -> None:
    """However long it was: the next one is noticed as soon as this one."""
    speak(silence, clock, 0, *[HOUR] * 5)

    speak(silence, clock, 90 * DAY, HOUR)

    assert silence.silent_after_secs == AT_LEAST_SECS


def test_a_silence_that_comes_again_is_the_usual_pause(silence: SilenceDetector, clock: FakeClock) -> None:
    """A scanner that runs once a week is reported twice, and then it is known."""
    week = [*[5 * MINUTE] * 10, 7 * DAY]

    speak(silence, clock, 0, *week)
    assert silence.silent_after_secs == AT_LEAST_SECS
    speak(silence, clock, *week)

    assert silence_after(silence, clock, 8 * DAY) is None


# ---------------------------------------------------------------- times of the tool


def test_a_restart_knows_from_the_first_list_when_a_scanner_spoke_last(silence: SilenceDetector, clock: FakeClock) -> None:
    """The newest report counts, in whatever order they are listed."""
    days = [5, 2, 9]
    for day in days:
        silence.record_activity(clock.now() - timedelta(days=day))

    assert silence.last_data_at == silence.silent_since(is_installed=True) == START - timedelta(days=2)


def test_the_first_list_teaches_no_usual_pause(silence: SilenceDetector, clock: FakeClock) -> None:
    """Between two reports that are still there, others may have been written that are not."""
    for day in (60, 1):
        silence.record_activity(clock.now() - timedelta(days=day))

    assert silence.silent_after_secs == AT_LEAST_SECS


def test_what_we_did_not_see_for_a_while_was_no_pause(silence: SilenceDetector, clock: FakeClock) -> None:
    """After five days without the API server, all that was written meanwhile comes at once."""
    speak(silence, clock, 0, HOUR)
    last = clock.now()
    clock.advance(secs=5 * DAY)

    for hour in range(1, 120):
        silence.record_activity(last + timedelta(hours=hour))

    assert silence.silent_after_secs == AT_LEAST_SECS


def test_old_news_change_nothing(silence: SilenceDetector, clock: FakeClock) -> None:
    """Nor do they end a silence: the list is read anew, and the scanner is still dead."""
    last = speak(silence, clock, HOUR)
    clock.advance(secs=2 * DAY)

    silence.record_activity(last)
    silence.record_activity(last - timedelta(days=1))

    assert silence.silent_since(is_installed=True) == last


def test_nothing_is_concluded_from_the_future(silence: SilenceDetector, clock: FakeClock) -> None:
    """A node whose clock is ahead would hide a silence for as long."""
    silence.record_activity(datetime.max.replace(tzinfo=UTC))
    assert silence.last_data_at == START

    assert silence_after(silence, clock, 2 * DAY) == START


def test_a_clock_that_is_set_back_hides_no_silence(silence: SilenceDetector, clock: FakeClock) -> None:
    """It was a year ahead for a moment: what came then came now."""
    clock.advance(secs=365 * DAY)
    silence.record_activity()
    clock.advance(secs=-365 * DAY)

    silence.record_activity()

    assert silence_after(silence, clock, 2 * DAY) == START


def test_a_time_without_a_zone_is_utc(silence: SilenceDetector) -> None:
    """A watcher's slip costs no exception."""
    silence.record_activity(START.replace(tzinfo=None) - timedelta(hours=1))

    assert silence.last_data_at == START - timedelta(hours=1)


@SETTINGS
@given(st.lists(st.tuples(st.floats(0, 1e7), st.none() | st.datetimes(timezones=st.just(UTC)) | st.datetimes()), max_size=80))
def test_whatever_it_hears_a_usual_pause_stays_small_and_sane(heard: list[tuple[float, datetime | None]]) -> None:
    """No time is of the future, none goes back, memory is bounded."""
    clock = FakeClock()
    silence = SilenceDetector(clock, at_least_secs=HOUR)
    last = datetime.min.replace(tzinfo=UTC)

    for secs, at in heard:
        clock.advance(secs=secs)
        silence.record_activity(at)
        assert silence.last_data_at is not None
        assert last <= silence.last_data_at <= clock.now()
        last = silence.last_data_at

    assert len(silence._days) <= MOST_DAYS
    assert len(silence._silences) <= MOST_SILENCES
    assert (silence.silent_after_secs or 0) >= HOUR
