// The page by keyboard.
const rows = () => [...document.querySelectorAll("#open .row")];

export function chosen() {
  return document.querySelector(".row.is-chosen");
}

export function choose(id) {
  for (const row of rows()) row.classList.toggle("is-chosen", row.id === id);
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(chosen());
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  choose(next.id);
  next.querySelector("a").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

const keys = {
  "/": () => document.getElementById("q")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  a: () => (chosen() ?? document).querySelector("[data-act=acknowledge]")?.click(),
  g: () => { window.location.href = document.querySelector(".brand").href; },
  t: () => window.changeTheme(),
  "?": () => document.getElementById("shortcuts").showModal(),
};

export function obey() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, dialog[open]");
    if (event.key === "Escape" && typing?.id === "q") typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key];
    if (!act || (event.key === "a" && !chosen() && rows().length)) return;
    event.preventDefault();
    act();
  });
  for (const [id, act] of [["theme", keys.t], ["help", keys["?"]]]) {
    const button = document.getElementById(id);
    if (!button) continue;
    button.hidden = false;
    button.addEventListener("click", act);
  }
}
