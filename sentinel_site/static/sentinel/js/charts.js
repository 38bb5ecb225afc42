// Charts over time: lines, what is usual behind them, and what departed from it marked on them.
import { told } from "./units.js";

const LINES = [
  { name: "--p50", width: 1.5, dash: [] },
  { name: "--p95", width: 1.75, dash: [] },
  { name: "--p99", width: 1.25, dash: [4, 3] },
];
const ONE = [{ name: "--p95", width: 1.75, dash: [] }];
const TABLE_ROWS = 200;
const drawn = new Map();
const sync = window.uPlot?.sync("time");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const when = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function symbol(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function swatch(style) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 8");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", style ? "path" : "rect");
  const attributes = style
    ? { d: "M0 4h16", stroke: `var(${style.name})`, "stroke-width": style.width + 0.5, "stroke-dasharray": style.dash.join(" ") }
    : { width: 16, height: 8, rx: 2, fill: "var(--band)" };
  for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

const styleOf = (chart, index) => (chart.lines.length > 1 ? LINES : ONE)[index] ?? LINES[1];

// The axis fits the lines and points. What is usual may reach far beyond; then it is cut.
function highest(chart) {
  let most = 0;
  for (const line of chart.lines) for (const value of line.values) if (value > most) most = value;
  for (const point of chart.points ?? []) if (point.y > most) most = point.y;
  const usual = chart.band ? Math.min(chart.band.high, most ? most * 1.4 : chart.band.high) : 0;
  return Math.max(most, usual) * 1.06 || 1;
}

function drawBehind(plot, chart) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  if (chart.band) {
    const top = plot.valToPos(Math.min(chart.band.high, plot.scales.y.max), "y", true);
    ctx.fillStyle = colour("--band");
    ctx.fillRect(bbox.left, top, bbox.width, plot.valToPos(chart.band.low, "y", true) - top);
  }
  ctx.fillStyle = colour("--span");
  for (const span of chart.spans ?? []) {
    const from = plot.valToPos(span.from, "x", true);
    ctx.fillRect(from, bbox.top, Math.max(3, plot.valToPos(span.to, "x", true) - from), bbox.height);
  }
  ctx.restore();
}

function drawOver(plot, chart, annotations) {
  const { ctx, bbox } = plot;
  const ratio = window.uPlot.pxRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("--muted");
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  for (const note of annotations) {
    if (note.at < plot.scales.x.min || note.at > plot.scales.x.max) continue;
    const x = plot.valToPos(note.at, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = `${11 * ratio}px Inter, sans-serif`;
    ctx.fillText(note.text.slice(0, 24), x + 4 * ratio, bbox.top + 10 * ratio);
  }
  ctx.setLineDash([]);
  ctx.strokeStyle = colour("--critical");
  ctx.lineWidth = 1.5 * ratio;
  for (const point of chart.points ?? []) {
    const x = plot.valToPos(point.x, "x", true);
    const y = plot.valToPos(point.y, "y", true);
    ctx.beginPath();
    ctx.arc(x, y, 2.5 * ratio, 0, 7);
    ctx.stroke();
  }
  ctx.restore();
}

// Marks are links, so that they can be reached by keyboard and read aloud.
function placeMarks(plot, chart, layer) {
  const ratio = window.uPlot.pxRatio;
  layer.replaceChildren();
  for (const mark of chart.marks) {
    const at = Math.min(Math.max(mark.from, plot.scales.x.min), plot.scales.x.max);
    const place = plot.valToIdx(at);
    const line = chart.lines[Math.min(1, chart.lines.length - 1)];
    const value = line?.values[place] ?? line?.values[place - 1] ?? 0;
    const link = make("a", { class: `chart-mark is-${mark.severity}`, href: mark.url, title: mark.title, "aria-label": `${mark.severity}: ${mark.title}` }, symbol(mark.severity));
    link.style.left = `${plot.valToPos(at, "x") + plot.bbox.left / ratio}px`;
    link.style.top = `${Math.max(10, plot.valToPos(value, "y") + plot.bbox.top / ratio - 12)}px`;
    layer.append(link);
  }
}

// Clock times, and the date where a day begins or where days are far apart.
function tickOf(tick, scale) {
  const at = new Date(tick * 1000);
  const isMidnight = at.getHours() === 0 && at.getMinutes() === 0;
  return isMidnight || scale.max - scale.min > 5 * 86_400 ? day.format(at) : clock.format(at);
}

function options(chart, state, size) {
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px Inter, sans-serif" };
  return {
    ...size,
    padding: [6, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false, setScale: false }, sync: sync && { key: sync.key, scales: ["x", null] }, points: { size: 7 } },
    scales: { x: { range: (_, min, max) => (state.span ? [state.span.from, state.span.to] : [min, max]) }, y: { range: () => [0, highest(state.chart)] } },
    axes: [{ ...axis, gap: 4, size: 26, space: 64, values: (plot, ticks) => ticks.map((tick) => tickOf(tick, plot.scales.x)) }, { ...axis, gap: 4, size: 54, space: 34, values: (_, ticks) => ticks.map((tick) => told(tick, chart.unit)) }],
    series: [{}, ...chart.lines.map((line, index) => {
      const style = styleOf(chart, index);
      return { label: line.label, stroke: () => colour(style.name), width: style.width, dash: style.dash, points: { show: false }, spanGaps: false };
    })],
    hooks: {
      drawAxes: [(plot) => drawBehind(plot, state.chart)],
      draw: [(plot) => { drawOver(plot, state.chart, state.annotations); placeMarks(plot, state.chart, state.layer); }],
      setCursor: [(plot) => tell(state, plot.cursor.idx)],
      setSelect: [(plot) => choose(plot)],
    },
  };
}

function choose(plot) {
  if (plot.select.width < 8) return;
  const [from, to] = [plot.select.left, plot.select.left + plot.select.width].map((x) => plot.posToVal(x, "x"));
  plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  window.dispatchEvent(new CustomEvent("rangechosen", { detail: { from, to } }));
}

function last(values) {
  for (let index = values.length - 1; index >= 0; index -= 1) if (values[index] != null) return index;
  return -1;
}

// The legend tells the values under the cursor, and the latest ones while there is none.
function tell(state, index) {
  state.chart.lines.forEach((line, place) => {
    const at = index ?? last(line.values);
    state.values[place].textContent = told(line.values[at], state.chart.unit);
  });
}

function table(chart) {
  const head = make("tr", {}, make("th", { scope: "col" }, "Time"), ...chart.lines.map((line) => make("th", { scope: "col", class: "number" }, line.label)));
  const body = make("tbody");
  for (let index = chart.x.length - 1; index >= 0 && body.childElementCount < TABLE_ROWS; index -= 1) {
    if (chart.lines.every((line) => line.values[index] == null)) continue;
    body.append(make("tr", {}, make("th", { scope: "row" }, when.format(chart.x[index] * 1000)), ...chart.lines.map((line) => make("td", { class: "number" }, told(line.values[index], chart.unit)))));
  }
  return make("table", {}, make("thead", {}, head), body);
}

const words = (chart) => `${chart.title}. Latest: ${chart.lines.map((line) => `${line.label} ${told(line.values[last(line.values)], chart.unit)}`).join(", ")}.${chart.band ? ` Usually ${told(chart.band.low, chart.unit)} to ${told(chart.band.high, chart.unit)}.` : ""} ${chart.marks.length} anomalies marked.`;

function frame(chart) {
  const values = chart.lines.map(() => make("b"));
  const legend = make("span", { class: "chart-legend" }, ...chart.lines.map((line, index) => make("span", { class: "key" }, swatch(styleOf(chart, index)), chart.lines.length > 1 ? `${line.label} ` : "", values[index])));
  if (chart.band) legend.append(make("span", { class: "key" }, swatch(null), "usual"));
  const body = make("div", { class: "chart-body", role: "img" });
  const layer = make("div", { class: "chart-marks" });
  const details = make("details", {}, make("summary", {}, "As a table"), make("div", { class: "scroll", tabindex: "0" }));
  const figure = make("figure", { class: chart.id === "latency" ? "chart is-first" : "chart", id: `chart-${chart.id}` }, make("figcaption", {}, make("span", { class: "chart-title" }, chart.title), legend), make("div", { class: "chart-body" }));
  figure.lastChild.replaceWith(body);
  if (chart.note) figure.append(make("p", { class: "chart-note" }, chart.note));
  figure.append(details);
  return { figure, body, layer, details, values };
}

const shape = (chart) => `${chart.title}|${chart.unit}|${chart.lines.map((line) => line.label)}|${!!chart.band}`;

function draw(chart, state, host) {
  Object.assign(state, frame(chart), { shape: shape(chart) });
  host.append(state.figure);
  state.details.addEventListener("toggle", () => fillTable(state));
  const size = { width: state.body.clientWidth, height: state.body.clientHeight };
  state.plot = new window.uPlot(options(chart, state, size), [chart.x, ...chart.lines.map((line) => line.values)], state.body);
  state.body.append(state.layer);
  new ResizeObserver(() => state.plot.setSize({ width: state.body.clientWidth, height: state.body.clientHeight })).observe(state.body);
}

function fillTable(state) {
  if (state.details.open) state.details.lastChild.replaceChildren(table(state.chart));
}

export function show(host, charts, annotations = [], span = null) {
  if (!host || !window.uPlot) return;
  const wanted = new Set(charts.map((chart) => chart.id));
  for (const [id, state] of drawn) if (!wanted.has(id)) { state.plot.destroy(); state.figure.remove(); drawn.delete(id); }
  for (const chart of charts) {
    const state = drawn.get(chart.id) ?? {};
    Object.assign(state, { chart, annotations, span });
    if (state.plot && state.shape === shape(chart)) {
      state.plot.setData([chart.x, ...chart.lines.map((line) => line.values)]);
    } else {
      state.plot?.destroy();
      state.figure?.remove();
      draw(chart, state, host);
      drawn.set(chart.id, state);
    }
    state.body.setAttribute("aria-label", words(chart));
    tell(state, null);
    fillTable(state);
  }
}

window.addEventListener("themechange", () => { for (const state of drawn.values()) state.plot.redraw(false); });
