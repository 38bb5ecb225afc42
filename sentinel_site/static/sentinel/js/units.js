// Numbers as people read them, by the unit of a chart.
const digits = (value) => {
  const size = Math.abs(value);
  if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)}G`;
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return `${+value.toPrecision(3)}`;
};

export function told(value, unit) {
  if (value == null) return "–";
  if (unit === "ms") return Math.abs(value) >= 1000 ? `${+(value / 1000).toPrecision(3)} s` : `${+value.toPrecision(3)} ms`;
  if (unit === "share") return `${+(value * 100).toPrecision(3)} %`;
  if (unit === "usd") return value >= 100 ? `$${Math.round(value).toLocaleString()}` : `$${+value.toPrecision(3)}`;
  return digits(value);
}
