// What the page does by itself: keys, theme, the choice of runs. Curves and graphs have files of their own.

const main = document.getElementById("content");

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("trackyard-theme", root.dataset.theme);
  document.dispatchEvent(new Event("theme"));
});

function showChoice() {
  const button = document.getElementById("compare");
  if (!button) return;
  const count = document.querySelectorAll("#chosen :checked").length;
  button.disabled = count < 2;
  button.textContent = count > 1 ? `Compare ${count} runs` : "Compare";
}

document.addEventListener("change", (event) => {
  if (event.target.name === "run") showChoice();
});
document.addEventListener("htmx:after:swap", showChoice);
showChoice();

const isTyping = (target) => target.closest("input:not([type=checkbox]), textarea, select") !== null;

// j and k go through the rows, x chooses one, Enter opens it, c compares, / filters, n and p turn pages.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    document.querySelectorAll("details[open]#columns").forEach((found) => { found.open = false; });
    if (isTyping(event.target)) event.target.blur();
    return;
  }
  if (isTyping(event.target)) return;
  const rows = [...main.querySelectorAll("tbody tr:has(th a)")];
  const here = rows.findIndex((row) => row.contains(document.activeElement));
  const go = (index) => rows[Math.max(0, Math.min(rows.length - 1, index))]?.querySelector("th a").focus();
  const keys = {
    "/": () => document.getElementById("filter")?.focus(),
    j: () => go(here + 1),
    k: () => go(here < 0 ? 0 : here - 1),
    x: () => rows[here]?.querySelector("[type=checkbox]")?.click(),
    c: () => document.getElementById("compare")?.click(),
    n: () => document.querySelector("[rel=next]")?.click(),
    p: () => document.querySelector("[rel=prev]")?.click(),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
