/* What every page does: the theme before the first paint, keyboard help, small conveniences. A classic script, so that
   it runs before anything is painted. */
(() => {
  const stored = () => { try { return localStorage.getItem("openomni-theme"); } catch { return null; } };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => { document.documentElement.dataset.theme = stored() || (dark.matches ? "dark" : "light"); };
  apply();
  dark.addEventListener("change", apply);
  addEventListener("storage", apply);

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-switch]")) {
      const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("openomni-theme", other); } catch { /* this page alone, then */ }
      document.documentElement.dataset.theme = other;
    }
    if (event.target.closest("[data-keys]")) showKeys();
    const copied = event.target.closest("[data-copy]");
    if (copied) copy(copied);
  });
  document.addEventListener("change", (event) => { if (event.target.matches("[data-submit]")) event.target.form.submit(); });
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "?" && !writing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); showKeys(); }
  });

  /** Keys of this page: elements with `data-key` say theirs, and `aria-label` or text what it does. */
  function showKeys() {
    let dialog = document.getElementById("keys");
    if (!dialog) {
      dialog = document.createElement("dialog");
      dialog.id = "keys";
      dialog.setAttribute("aria-labelledby", "keys-title");
      document.body.append(dialog);
    }
    const rows = [["Tab", "to the next control"], ["?", "this help"], ["Esc", "closes it"]];
    for (const each of document.querySelectorAll("[data-key]")) {
      if (each.offsetParent !== null) rows.unshift([each.dataset.key, each.dataset.does || each.textContent.trim()]);
    }
    dialog.innerHTML = '<h2 id="keys-title">Keys on this page</h2><dl class="keys"></dl><form method="dialog"><button>Close</button></form>';
    for (const [key, does] of rows) {
      const term = document.createElement("dt"), said = document.createElement("dd");
      term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
      said.textContent = does;
      dialog.querySelector("dl").append(term, said);
    }
    dialog.showModal();
  }

  async function copy(button) {
    const text = button.dataset.copy || document.querySelector(button.dataset.copyFrom)?.textContent || "";
    const before = button.textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(document.querySelector(button.dataset.copyFrom) || button); button.textContent = "Selected; copy it"; }
    setTimeout(() => { button.textContent = before; }, 1500);
  }
})();
