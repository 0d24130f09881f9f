// @ts-check
// Definitions as text that people read, and that can be submitted again: JSON, short parts in line.

const WIDTH = 88;

/**
 * A value as JSON. A list or an object that fits into a line has one.
 * @param {unknown} value @param {string} [indent] @param {number} [before] The length of the text
 *   before it in its line.
 * @returns {string}
 */
export function readable(value, indent = "", before = 0) {
  const short = inline(value);
  if (typeof value !== "object" || value === null
    || indent.length + before + short.length <= WIDTH) return short;
  const deeper = `${indent}  `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Array.isArray(value)
    ? value.map((each) => deeper + readable(each, deeper))
    : Object.entries(value).map(([key, each]) => {
      const name = `${JSON.stringify(key)}: `;
      return deeper + name + readable(each, deeper, name.length);
    });
  return `${open}\n${parts.join(",\n")}\n${indent}${close}`;
}

/** @param {unknown} value @returns {string} */
function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const parts = Object.entries(value)
    .map(([key, each]) => `${JSON.stringify(key)}: ${inline(each)}`);
  return parts.length ? `{${parts.join(", ")}}` : "{}";
}

/**
 * Whether a definition of this name is meant by a text that the reader looks for: a part of the
 * name, or the name of a Step that it became (`NAME-…` of an array, `NAME:…` of a composite).
 * @param {string} name @param {string} text
 */
export function isMeant(name, text) {
  const [mine, yours] = [name.toLowerCase(), text.trim().toLowerCase()];
  return mine.includes(yours) || yours.startsWith(`${mine}-`) || yours.startsWith(`${mine}:`);
}
