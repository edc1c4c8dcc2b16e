// Many runs at once: a line through all columns for each, or a point between two columns.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1240, HEIGHT = 260, SIDE = 90, TOP = 34;
const short = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : Number(value.toPrecision(4)));

function add(parent, name, attributes, text) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  if (text !== undefined) found.textContent = text;
  parent.append(found);
  return found;
}

function scale(values, from, to) {
  const numbers = values.filter((value) => value !== null);
  const low = Math.min(...numbers), high = Math.max(...numbers);
  return { low, high, at: (value) => (high === low ? (from + to) / 2 : from + ((value - low) / (high - low)) * (to - from)) };
}

const tone = (index) => {
  const probe = document.createElement("i");
  probe.className = `s${index % 8}`;
  document.body.append(probe);
  const found = getComputedStyle(probe).getPropertyValue("--series").trim();
  probe.remove();
  return found;
};

function light(svg, chosen) {
  svg.querySelectorAll("[data-run]").forEach((mark) => mark.classList.toggle("is-dim", chosen !== null && mark.dataset.run !== chosen));
}

function mark(svg, element, index, name) {
  element.dataset.run = String(index);
  add(element, "title", {}, name);
  element.onpointerenter = () => light(svg, String(index));
  element.onpointerleave = () => light(svg, null);
}

function drawParallel(svg, columns, names) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const keys = Object.keys(columns).slice(0, 10);
  const axes = keys.map((key, index) => ({
    x: keys.length > 1 ? SIDE + (index * (WIDTH - 2 * SIDE)) / (keys.length - 1) : WIDTH / 2,
    ...scale(columns[key], HEIGHT - TOP, TOP),
  }));
  keys.forEach((key, index) => {
    const { x, low, high } = axes[index];
    add(svg, "line", { class: "axis", x1: x, x2: x, y1: TOP, y2: HEIGHT - TOP });
    add(svg, "text", { x, y: 13, "text-anchor": "middle" }, key.length > 18 ? `${key.slice(0, 17)}…` : key);
    add(svg, "text", { x: x + 5, y: TOP - 4 }, short(high));
    add(svg, "text", { x: x + 5, y: HEIGHT - TOP + 14 }, short(low));
  });
  names.forEach((name, run) => {
    const points = keys.map((key, index) => [axes[index], columns[key][run]]).filter(([, value]) => value !== null);
    if (points.length < 2) return;
    const line = add(svg, "polyline", { class: "run", stroke: tone(run), points: points.map(([axis, value]) => `${axis.x},${axis.at(value)}`).join(" ") });
    mark(svg, line, run, name);
  });
}

function drawScatter(svg, columns, names, x, y) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT + 40}`);
  const across = scale(columns[x], SIDE, WIDTH - SIDE), up = scale(columns[y], HEIGHT - 10, 20);
  add(svg, "line", { class: "axis", x1: SIDE - 14, x2: WIDTH - SIDE + 14, y1: HEIGHT, y2: HEIGHT });
  add(svg, "line", { class: "axis", x1: SIDE - 14, x2: SIDE - 14, y1: 10, y2: HEIGHT });
  for (const value of [across.low, across.high]) add(svg, "text", { x: across.at(value), y: HEIGHT + 16, "text-anchor": "middle" }, short(value));
  for (const value of [up.low, up.high]) add(svg, "text", { x: SIDE - 20, y: up.at(value) + 4, "text-anchor": "end" }, short(value));
  add(svg, "text", { x: WIDTH / 2, y: HEIGHT + 32, "text-anchor": "middle" }, x);
  names.forEach((name, run) => {
    if (columns[x][run] === null || columns[y][run] === null) return;
    const place = { cx: across.at(columns[x][run]), cy: up.at(columns[y][run]) };
    mark(svg, add(svg, "circle", { ...place, r: 6, fill: tone(run) }), run, name);
    const isRight = place.cx > WIDTH / 2;
    add(svg, "text", { x: place.cx + (isRight ? -9 : 9), y: place.cy + 4, "text-anchor": isRight ? "end" : "start" }, name.slice(0, 40));
  });
}

export function drawMany(root) {
  const section = root.querySelector("#many");
  if (!section) return;
  const columns = JSON.parse(section.dataset.columns), names = JSON.parse(section.dataset.names);
  const keys = Object.keys(columns);
  if (keys.length < 2) return;
  section.hidden = false;
  const form = section.querySelector("#axes");
  for (const [index, select] of [...form.querySelectorAll("select")].entries()) {
    if (!select.options.length) select.append(...keys.map((key) => new Option(key, key)));
    select.value ||= keys[Math.min(index, keys.length - 1)];
    if (index === 1) select.value = section.dataset.first in columns ? section.dataset.first : keys[1];
  }
  const draw = () => {
    drawParallel(section.querySelector("#parallel"), columns, names);
    drawScatter(section.querySelector("#scatter"), columns, names, form.elements.x.value, form.elements.y.value);
  };
  form.addEventListener("input", draw);
  document.addEventListener("theme", draw);
  draw();
}
