// @ts-check
// Tables in text: fields between separators, quoted ones with separators and line ends in them.

const SEPARATORS = ["\t", ";", ",", "|"];

/**
 * The separator of a table: that of the first line's which stands there most often outside of
 * quotes; a tab wins over others, and the name of the file over all.
 * @param {string} text
 * @param {string} name
 */
export function separator(text, name = "") {
  if (/\.(tsv|tab)$/i.test(name)) return "\t";
  const line = text.replace(/^\ufeff/, "").replace(/"(?:[^"]|"")*"/g, "").split(/\r?\n|\r/, 1)[0];
  const counts = SEPARATORS.map((each) => line.split(each).length - 1);
  const most = Math.max(...counts);
  return most === 0 ? "," : SEPARATORS[counts.indexOf(most)];
}

/**
 * The first rows of a table; `more` says that there are others. A quote that is never closed ends
 * with the text.
 * @param {string} text
 * @param {string} between the separator
 * @param {number} most
 * @returns {{ rows: string[][], more: boolean }}
 */
export function table(text, between, most) {
  /** @type {string[][]} */
  const rows = [];
  let at = text.startsWith("\ufeff") ? 1 : 0;
  while (at < text.length) {
    if (rows.length === most) return { rows, more: true };
    /** @type {string[]} */
    const row = [];
    for (;;) {
      const [field, end] = text[at] === "\"" ? quoted(text, at, between) : bare(text, at, between);
      row.push(field);
      at = end;
      if (text[at] !== between) break;
      at += 1;
    }
    if (text[at] === "\r" && text[at + 1] === "\n") at += 1;
    at += 1;
    rows.push(row);
  }
  return { rows, more: false };
}

/**
 * The field that begins at an offset, and the offset of its end.
 * @param {string} text @param {number} from @param {string} between
 * @returns {[string, number]}
 */
function bare(text, from, between) {
  let at = from;
  const ends = [between, "\n", "\r"];
  while (at < text.length && !ends.includes(text[at])) at += 1;
  return [text.slice(from, at), at];
}

/**
 * The same of a field that begins with a quote. What follows its last quote belongs to it as well.
 * @param {string} text @param {number} from @param {string} between
 * @returns {[string, number]}
 */
function quoted(text, from, between) {
  let field = "";
  let at = from + 1;
  for (;;) {
    const end = text.indexOf("\"", at);
    if (end < 0) return [field + text.slice(at), text.length];
    field += text.slice(at, end);
    if (text[end + 1] !== "\"") {
      const [rest, after] = bare(text, end + 1, between);
      return [field + rest, after];
    }
    field += "\"";
    at = end + 2;
  }
}
