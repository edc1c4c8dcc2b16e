// What the page does by itself: keys, theme, the choice of runs. Curves and graphs have files of their own.

import { drawCurves } from "./curves.js";
import { drawGraphs } from "./graph.js";
import { drawMany } from "./many.js";

const main = document.getElementById("content");

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
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

// Columns stand in the address once somebody has chosen them.
document.addEventListener("change", ({ target }) => {
  target.closest("#columns")?.querySelectorAll("input").forEach((box) => { box.name = "column"; });
}, true);

document.addEventListener("change", (event) => {
  if (event.target.name === "run") showChoice();
});

function draw() {
  showChoice();
  drawCurves(document);
  drawGraphs(document);
  document.querySelectorAll(".console").forEach((found) => { found.scrollTop = found.scrollHeight; });
}
document.addEventListener("htmx:after:swap", draw);
draw();
drawMany(document);

// A slider shows what was logged at another step; a frame is made when somebody opens it.
document.addEventListener("input", ({ target }) => {
  const figure = target.closest("figure[data-address]");
  if (!figure || target.type !== "range") return;
  figure.querySelector("img, audio, video").src = `${figure.dataset.address}&n=${target.value}`;
  const output = figure.querySelector("output");
  if (output) output.textContent = JSON.parse(target.dataset.steps)[target.value];
});
document.addEventListener("toggle", ({ target }) => {
  if (!target.dataset.frame || target.querySelector("iframe")) return;
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "");
  frame.title = target.dataset.title;
  frame.src = target.dataset.frame;
  target.querySelector(".preview").append(frame);
}, true);

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
