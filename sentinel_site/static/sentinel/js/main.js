// What the pages do beyond showing themselves: stay up to date, filter without reloading, act in place.
import { show } from "./charts.js";
import { choose, chosen, obey } from "./keys.js";
import { listen } from "./live.js";
import { keepTelling, localise } from "./times.js";

const source = document.body.dataset.source;
const host = document.getElementById("charts");
let asked = 0;

function say(text, kind = "success") {
  const message = document.createElement("p");
  message.className = `message ${kind}`;
  message.textContent = text;
  document.getElementById("messages").replaceChildren(message);
  setTimeout(() => message.remove(), 5_000);
}

// The markup comes from our own templates, which escape what others wrote.
function swap(part, markup) {
  const place = document.getElementById(`part-${part}`);
  if (!place || place.contains(document.activeElement?.closest("textarea, input, select"))) return;
  const focused = document.activeElement?.closest(".row")?.id;
  const open = [...place.querySelectorAll("details")].map((details) => details.open);
  const before = new Set([...place.querySelectorAll(".row")].map((row) => row.id));
  const picked = chosen()?.id;
  place.innerHTML = markup;
  [...place.querySelectorAll("details")].forEach((details, index) => { details.open = open[index] ?? details.open; });
  if (before.size) for (const row of place.querySelectorAll(".row")) row.classList.toggle("is-fresh", !before.has(row.id));
  if (picked) choose(picked);
  if (focused) document.getElementById(focused)?.querySelector("a")?.focus({ preventScroll: true });
  localise(place);
}

async function refresh() {
  const number = ++asked;
  let answer;
  try {
    answer = await fetch(source + window.location.search, { headers: { Accept: "application/json" } });
  } catch {
    return false;
  }
  if (answer.status === 401) window.location.reload();
  if (!answer.ok) return false;
  const seen = await answer.json();
  if (number !== asked) return true; // a later question is on its way
  for (const [part, markup] of Object.entries(seen.parts)) swap(part, markup);
  document.title = `${seen.title} · LLM-Sentinel`;
  document.getElementById("charts-wait")?.remove();
  show(host, seen.charts, seen.annotations, seen.span);
  if (host?.hidden || document.querySelector(".welcome")) firstEvent(seen);
  return true;
}

// The page of a fresh installation becomes the usual one with the first event.
function firstEvent(seen) {
  if (seen.charts.some((chart) => chart.x.length && chart.lines.some((line) => line.values.some((value) => value != null)))) window.location.reload();
}

function goTo(search) {
  window.location.assign(window.location.pathname + search);
}

function filterByThemselves() {
  const form = document.getElementById("filters");
  if (!form) return;
  for (const select of form.querySelectorAll("select")) {
    select.addEventListener("change", () => {
      if (select.id === "service") form.querySelector("#model").value = "";
      form.requestSubmit();
    });
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = [...new FormData(form)].filter(([name, value]) => value && !(name === "range" && value === "6h"));
    goTo(given.length ? `?${new URLSearchParams(given)}` : "");
  });
  window.addEventListener("rangechosen", (event) => {
    const parameters = new URLSearchParams(window.location.search);
    parameters.delete("range");
    for (const [name, at] of [["start", event.detail.from], ["end", event.detail.to]]) {
      parameters.set(name, new Date(Math.round(at) * 1000).toISOString());
    }
    goTo(`?${parameters}`);
  });
}

function actInPlace() {
  const form = document.getElementById("act");
  form?.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (!button) return;
    event.preventDefault();
    button.disabled = true;
    const answer = await fetch(button.formAction, { method: "POST", body: new FormData(form), headers: { "X-Requested-With": "fetch" } }).catch(() => null);
    button.disabled = false;
    if (answer?.status === 204) say("Acknowledged.");
    else say("That did not work. Reload the page and try again.", "error");
    await refresh();
  });
}

function copyable() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
}

function firstCharts() {
  const data = document.getElementById("drawn");
  if (data) {
    const { charts, annotations, span } = JSON.parse(data.textContent);
    show(host, charts, annotations, span);
  } else if (source) {
    refresh();
  }
}

keepTelling();
obey();
filterByThemselves();
actInPlace();
copyable();
firstCharts();
if (source) listen(document.body.dataset.live, document.body.dataset.known, refresh);
