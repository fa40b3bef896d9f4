"""Somebody at the talk page, whose browser's microphone plays a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e import staging
from e2e.conftest import Installation

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


QUESTION = "What is the capital of France?"
CUTTABLE = """
const Real = WebSocket;
window.sockets = [];
window.WebSocket = class extends Real { constructor(...given) { super(...given); window.sockets.push(this); } };
"""
UNTOLD = """
const Real = WebSocket;
window.untold = 0;
window.WebSocket = class extends Real {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", (event) => {
      if (typeof event.data !== "string") return;
      const { type } = JSON.parse(event.data);
      if (!["response.done", "openomni.reply.ended", "openomni.turn.done"].includes(type)) return;
      window.untold += 1;
      event.stopImmediatePropagation();
    });
  }
};
"""
"""The news that a reply was sent whole never comes."""
STATES = """
const states = [];
let looked = -1;
addEventListener("DOMContentLoaded", () => {
  const talk = document.querySelector("#talk");
  if (!talk) return;
  const note = () => { if (talk.dataset.state !== states.at(-1)) states.push(talk.dataset.state); };
  note();
  new MutationObserver(note).observe(talk, { attributeFilter: ["data-state"] });
});
window.beenIn = (name) => {
  const at = states.at(-1) === name ? states.length - 1 : states.indexOf(name, looked + 1);
  if (at >= 0) looked = at;
  return at >= 0;
};
"""
HELD_STREAMS = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.streams = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await ask(wanted);
  window.streams.push(stream);
  return stream;
};
"""


@dataclass
class Talker:
    """Somebody at the talk page."""

    made: Installation
    page: Page
    shots: Callable[..., Any]

    def begin(self) -> None:
        self.page.get_by_label("I agree that this is recorded").check()
        self.button("Talk").click()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def state(self, name: str) -> None:
        """Waits until it is in that state, or was since the last look: some pass faster than a busy machine looks."""
        self.page.wait_for_function("name => beenIn(name)", arg=name)

    def said(self, side: str, text: str, number: int = 0) -> None:
        """Somebody's line number so and so has this in it."""
        line = self.page.locator(f"#captions .{side}").nth(number)
        line.filter(has_text=text).wait_for()

    def turns(self, count: int, *, spoken: bool = True) -> list[Any]:
        """The pictures of so many turns that were heard at this loudspeaker; `spoken` ones have a voice-to-voice."""
        pictures = self.page.locator(f'#turns {"[data-voice-to-voice]" * spoken}[data-heard-at="client"]')
        pictures.nth(count - 1).wait_for()
        return pictures.all()

    def type(self, text: str) -> None:
        self.page.get_by_label("Type instead of speaking").fill(text)
        self.page.keyboard.press("Enter")

    def end(self) -> str:
        """Ends the session; its id."""
        self.button("End").click()
        link = self.page.locator("#session-link")
        link.wait_for()
        return (link.get_attribute("href") or "").split("/")[2]

    def recorded(self, session: str, count: int) -> list[dict[str, Any]]:
        """The session's turns at the API, oldest first, once there are so many that were heard at the client."""

        def there() -> list[dict[str, Any]]:
            answer = self.made.request("GET", f"/api/v1/turns?session={session}")
            turns = [turn for turn in answer.json()["items"] if turn["heard_at"] == "client"]
            return sorted(turns, key=lambda turn: turn["index"]) if len(turns) >= count else []

        return staging.until(there, f"{count} turns of {session} never came: {self.made.logs()}")

    def accessible(self) -> None:
        """As it is: most of what this page shows passes soon."""
        from pages.support import assert_accessible_as_it_is

        assert_accessible_as_it_is(self.page)

    def looks_well(self, name: str) -> None:
        """In both themes, wide and on a phone; only for what stays as it is."""
        from pages.support import assert_accessible

        assert_accessible(self.page)
        self.shots(self.page, f"talk-{name}")

    def cut(self) -> None:
        """The line breaks and stays away; `mend` brings it back. Needs the script CUTTABLE."""
        self.page.context.set_offline(True)
        self.page.evaluate("sockets.at(-1).dispatchEvent(new CloseEvent('close', {code: 1006}))")
        self.state("away")

    def mend(self) -> None:
        self.page.context.set_offline(False)
        self.state("listening")

    def tab_to(self, target: Locator) -> None:
        """By keyboard alone."""
        for _ in range(60):
            if target.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{target} can't be reached with Tab")


Visit = Callable[..., Talker]
