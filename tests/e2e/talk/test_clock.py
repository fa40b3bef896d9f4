"""When a sample left the loudspeaker, on the page's clock, though a busy machine holds the audio thread up."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from e2e.talk.talker import Visit

# The audio thread tells its time each quarter of a second; `delays`: how long each message took.
NOTED = """async ([delays, at, earliest]) => {
  const { AudioClock } = await import("/static/talk/clock.js");
  const clock = new AudioClock();
  const real = performance.now;
  try {
    delays.forEach((delay, index) => {
      performance.now = () => 1000 * (index / 4 + delay);
      clock.note(index / 4);
    });
    return clock.toNow(at, earliest ?? undefined);
  } finally { performance.now = real; }
}"""


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("short", 60.0).page


def test_the_shortest_delay_of_a_message_is_believed(page: Page) -> None:
    assert page.evaluate(NOTED, [[0.13, 0.101, 0.25, 0.12, 0.109], 2.0, None]) == pytest.approx(2.101)


def test_time_that_the_context_lost_is_lost_for_good(page: Page) -> None:
    assert page.evaluate(NOTED, [[0.1] * 20 + [0.62, 0.6, 0.6], 7.0, None]) == pytest.approx(7.1), "it may be a hiccup"
    assert page.evaluate(NOTED, [[0.1] * 20 + [0.62, *[0.6] * 7], 7.0, None]) == pytest.approx(7.6)


def test_messages_that_waited_for_a_busy_page_are_no_lost_time(page: Page) -> None:
    for busy in (0.3, 1.0, 3.0, 6.0):  # seconds that the page could do nothing else
        waited = [0.1 + busy - number / 4 for number in range(round(busy * 4))]
        for done in range(len(waited)):
            assert page.evaluate(NOTED, [[0.1] * 20 + waited[: done + 1], 7.0, None]) == pytest.approx(7.1)


def test_nothing_is_heard_before_it_came(page: Page) -> None:
    assert page.evaluate(NOTED, [[0.1] * 20, 7.0, 7.6]) == pytest.approx(7.6)
    assert page.evaluate(NOTED, [[0.1] * 20, 7.0, 7.05]) == pytest.approx(7.1)
