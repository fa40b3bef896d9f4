/* What every page does: the theme before the first paint, keyboard help, copying. A classic script, so that it
   runs before anything is painted. */
(() => {
  /* Where the admin's own switch keeps the choice, as JSON: "light", "dark" or "auto". So there is one for all pages. */
  const KEPT = "adminTheme";
  const stored = () => { try { return JSON.parse(localStorage.getItem(KEPT)); } catch { return null; } };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    for (const each of document.querySelectorAll("[data-theme-switch]")) {
      each.setAttribute("aria-pressed", theme === "dark");
    }
  };
  const apply = () => {
    const chosen = stored();
    show(chosen === "light" || chosen === "dark" ? chosen : dark.matches ? "dark" : "light");
  };
  apply();
  dark.addEventListener("change", apply);
  addEventListener("storage", apply);

  /* Single keys can be turned off in the help: what somebody dictates must not press them (WCAG 2.1.4). */
  const KEYS = "openomni-keys";
  try { document.documentElement.dataset.keys = localStorage.getItem(KEYS) === "off" ? "off" : "on"; } catch { /* on */ }
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    reachable();
    new ResizeObserver(reachable).observe(document.body);
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-switch]")) {
      const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem(KEPT, JSON.stringify(other)); } catch { /* this page alone, then */ }
      show(other);
    }
    if (event.target.closest("button[data-keys]")) showKeys();
    const copied = event.target.closest("[data-copy], [data-copy-from]");
    if (copied) copy(copied);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.submit();
    if (event.target.matches("[data-single-keys]")) {
      const kept = event.target.checked ? "on" : "off";
      document.documentElement.dataset.keys = kept;
      try { localStorage.setItem(KEYS, kept); } catch { /* this page alone, then */ }
    }
  });
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, textarea, select, [contenteditable]");
    const off = document.documentElement.dataset.keys === "off";
    if (event.key === "?" && !off && !writing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); showKeys(); }
  });

  /** What scrolls by itself can be scrolled by keyboard. */
  function reachable() {
    for (const each of document.querySelectorAll(".scroll, pre")) {
      if (each.scrollWidth > each.clientWidth + 1) {
        if (!each.hasAttribute("tabindex")) { each.tabIndex = 0; each.dataset.reached = "yes"; }
      } else if (each.dataset.reached) {
        each.removeAttribute("tabindex");
        delete each.dataset.reached;
      }
    }
  }

  /** Keys of this page: elements with `data-key` say theirs; `data-does`, or their text, says what it does. */
  function showKeys() {
    let dialog = document.getElementById("keys-help");
    if (!dialog) {
      dialog = document.createElement("dialog");
      dialog.id = "keys-help";
      dialog.setAttribute("aria-labelledby", "keys-help-title");
      document.body.append(dialog);
    }
    const rows = [["Tab", "to the next control"], ["?", "this help"], ["Esc", "closes it"]];
    for (const each of document.querySelectorAll("[data-key]")) {
      if (each.offsetParent !== null) rows.unshift([each.dataset.key, each.dataset.does || each.textContent.trim()]);
    }
    dialog.innerHTML = '<h2 id="keys-help-title">Keys on this page</h2><dl class="keys"></dl><form method="dialog">'
      + '<label><input type="checkbox" data-single-keys>Keys without Ctrl or Alt do this</label><button>Close</button></form>';
    dialog.querySelector("[data-single-keys]").checked = document.documentElement.dataset.keys !== "off";
    for (const [key, does] of rows) {
      const term = document.createElement("dt"), said = document.createElement("dd");
      term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
      said.textContent = does;
      dialog.querySelector("dl").append(term, said);
    }
    dialog.showModal();
  }

  /** Copies `data-copy`, or the text of what `data-copy-from` selects. Over plain http a browser refuses; then it is
      selected. A button that still says so is left alone, or it would say so for ever. */
  async function copy(button) {
    if (button.dataset.said) return;
    const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    const before = button.textContent;
    const waited = new Promise((_, gaveUp) => setTimeout(gaveUp, 400));  // a clipboard that never answers
    try {
      await Promise.race([navigator.clipboard.writeText(button.dataset.copy || source?.textContent || ""), waited]);
      button.textContent = "Copied";
    } catch { getSelection().selectAllChildren(source || button); button.textContent = "Selected"; }
    button.dataset.said = "yes";
    say(button.textContent === "Copied" ? "Copied" : "Selected: copy it with Ctrl and C");
    setTimeout(() => { button.textContent = before; delete button.dataset.said; }, 1500);
  }

  /** Tells screen readers, politely. */
  function say(text) {
    let region = document.getElementById("said");
    if (!region) {
      region = Object.assign(document.createElement("p"), { id: "said", className: "visually-hidden" });
      region.setAttribute("role", "status");
      document.body.append(region);
    }
    region.textContent = text;
  }
})();
