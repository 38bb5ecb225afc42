// Times in the viewer's zone: how long ago, or the moment itself, with the other one as a title.
const DAY = 86_400;
const moment = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < DAY) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / DAY)} d ago`;
}

export function localise(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const text = "ago" in element.dataset ? ago((Date.now() - at) / 1000) : moment.format(at);
    if (element.textContent !== text) element.textContent = text;
    element.title = full.format(at);
  }
}

export function keepTelling() {
  localise();
  setInterval(() => localise(), 10_000);
}
