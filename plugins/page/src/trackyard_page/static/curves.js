// Curves by uPlot: the server thins and smooths them, here they are drawn, zoomed and kept up to date.

const style = (name, element = document.documentElement) => getComputedStyle(element).getPropertyValue(name).trim();
const short = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? Number(value.toPrecision(5)) : value);

function colour(index) {
  const probe = document.createElement("i");
  probe.className = `s${index % 8}`;
  document.body.append(probe);
  const found = style("--series", probe);
  probe.remove();
  return found;
}

class Chart {
  constructor(box, section) {
    this.box = box;
    this.section = section;
    this.place = box.querySelector(".plot");
    this.window = null;
    const first = box.dataset.first && JSON.parse(box.dataset.first);
    if (first) this.draw([{ ...first, name: "", axis: "step", last: first.y.at(-1) }], false);
    this.load();
  }

  async load() {
    const form = new FormData(this.section.querySelector(".tools"));
    const query = new URLSearchParams({ key: this.box.dataset.key, x: form.get("x"), smooth: form.get("smooth") });
    for (const run of JSON.parse(this.section.dataset.runs)) query.append("run", run);
    if (this.window) query.append("from", this.window[0]), query.append("to", this.window[1]);
    const asked = (this.asked = query.toString());
    const answer = await fetch(`${this.section.dataset.curves}?${query}`);
    if (!answer.ok || asked !== this.asked || !this.box.isConnected) return;
    const found = await answer.json();
    this.draw(found.series, form.get("log") === "on");
    this.live = found.live;
  }

  // A run has one colour in all charts, also where others lack the metric.
  place_of({ run }) {
    return Math.max(0, JSON.parse(this.section.dataset.runs).indexOf(run));
  }

  draw(series, isLog) {
    const same = JSON.stringify([series, isLog]);
    if (same === this.drawn) return;
    this.drawn = same;
    this.box.querySelector("h3 b").textContent = series.length === 1 ? short(series[0].last) : "";
    const data = uPlot.join(series.map((one) => [one.x, isLog ? one.y.map((y) => (y > 0 ? y : null)) : one.y]));
    const isTime = series[0]?.axis === "time";
    const quiet = style("--quiet"), line = style("--line");
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { stroke: line, size: 4 }, font: "11px system-ui", size: 44 };
    this.plot?.destroy();
    this.plot = new uPlot({
      width: Math.max(200, this.place.clientWidth), height: 210,
      scales: { x: { time: isTime }, y: { distr: isLog ? 3 : 1 } },
      axes: [{ ...axis, size: isTime ? 44 : 30 }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))) }],
      legend: { show: series.length > 1 },
      cursor: { drag: { setScale: false }, points: { size: 6 } },
      series: [
        { label: isTime ? "time" : series[0]?.axis === "relative" ? "second" : "step" },
        ...series.map((one, index) => ({ label: series.length > 1 ? one.name : "value", stroke: colour(this.place_of(one)), width: 1.6, spanGaps: true, points: { show: one.x.length < 3 }, value: (_, value) => short(value) })),
      ],
      hooks: {
        setCursor: [(plot) => {
          const index = plot.cursor.idx, isOne = series.length === 1;
          const place = index === null || isTime ? "" : short(plot.data[0][index]);
          this.box.querySelector("h3 b").textContent = !isOne ? place : index === null ? short(series[0].last) : `${place === "" ? "" : `${place}: `}${short(plot.data[1][index])}`;
        }],
        setSelect: [(plot) => {
          if (plot.select.width < 4) return;
          this.window = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")];
          plot.setSelect({ width: 0, height: 0 }, false);
          this.load();
        }],
      },
    }, data, this.place);
    this.plot.over.addEventListener("dblclick", () => { this.window = null; this.load(); });
  }
}

const charts = new Map();
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    const section = target.closest(".curves");
    if (isIntersecting && section && !charts.has(target)) charts.set(target, new Chart(target, section));
  }
}, { rootMargin: "200px" });

export function drawCurves(root) {
  for (const section of root.querySelectorAll(".curves:not([data-drawn])")) {
    section.dataset.drawn = "1";
    const again = (clear) => charts.forEach((chart) => {
      if (chart.section !== section) return;
      if (clear) chart.window = null;
      chart.load();
    });
    let waiting = 0;
    section.querySelector(".tools").addEventListener("input", (event) => {
      if (event.target.name === "only") {
        const part = event.target.value.trim().toLowerCase();
        section.querySelectorAll(".chart").forEach((box) => { box.hidden = !box.dataset.key.toLowerCase().includes(part); });
        return;
      }
      clearTimeout(waiting);
      waiting = setTimeout(() => again(event.target.name === "x"), 80);
    });
    section.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
    section.querySelectorAll(".chart").forEach((box) => seen.observe(box));
  }
}

// What goes on is asked for every second, as long as somebody looks.
setInterval(() => {
  if (document.hidden) return;
  for (const [box, chart] of charts) {
    if (!box.isConnected) charts.delete(box), chart.plot?.destroy();
    else if (chart.live && !chart.window) chart.load();
  }
}, 1000);

const redraw = () => charts.forEach((chart) => { chart.drawn = null; chart.load(); });
document.addEventListener("theme", redraw);
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });
