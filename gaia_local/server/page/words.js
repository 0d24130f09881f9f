// Words for numbers and times. States are shown by the names that they have everywhere in Gaia.

const ORDER = ["error", "exception", "unfit", "running", "queued", "ready", "waiting", "complete"];

/** A Step's states, those first that want attention. */
export function byUrgency(states) {
  const place = (state) => (ORDER.indexOf(state) + 1 || ORDER.length + 1);
  return [...states].sort((one, other) => place(one) - place(other));
}

/** `1 Step`, `2 Steps`. */
export function count(number, thing) {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/** A number of seconds in plain words: `0.4 seconds`, `2 minutes 5 seconds`, `1 day 3 hours`. */
export function duration(seconds) {
  if (seconds < 0.05) return "less than 0.1 seconds";
  if (seconds < 9.95) {
    const tenths = seconds.toFixed(1).replace(/\.0$/, "");
    return `${tenths} second${tenths === "1" ? "" : "s"}`;
  }
  const whole = Math.round(seconds);
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const first = units.findIndex(([, size]) => whole >= size);
  let rest = whole;
  const parts = [];
  for (const [name, size] of units.slice(first, first + 2)) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number) parts.push(count(number, name));
  }
  return parts.join(" ");
}

/** A size of files or of data: `12.5 MB`, in units of 1000. */
export function bytes(number) {
  return amount(number, 1000, ["bytes", "kB", "MB", "GB", "TB"]);
}

/** An amount of memory: `310 MB`, in units of 1024, as a Command's resources have it. */
export function memory(number) {
  return amount(number, 1024, ["bytes", "KB", "MB", "GB", "TB"]);
}

function amount(number, base, units) {
  let unit = 0;
  let rest = number;
  while (rest >= base && unit < units.length - 1) {
    rest /= base;
    unit += 1;
  }
  return `${rest < 99.95 ? Number(rest.toFixed(1)) : Math.round(rest)} ${units[unit]}`;
}

/** Seconds since the epoch as the reader's locale writes a date and a time. */
export function moment(seconds) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" })
    .format(seconds * 1000);
}

/** `a`, `a and b`, `a, b and c`; of more than `most` the number that is left out. */
export function several(names, most = 4) {
  const shown = names.slice(0, most).map(String);
  if (names.length > most) return `${shown.join(", ")} and ${names.length - most} more`;
  if (shown.length < 2) return shown.join("");
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/** State → number of Steps: a Map, the urgent ones first. */
export function tally(states) {
  const counts = new Map();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  return new Map(byUrgency(counts.keys()).map((state) => [state, counts.get(state)]));
}
