// @ts-check
// A button that copies a text which is shown beside it.

import { fill, html } from "./dom.js";

const TOLD_MS = 2500; // The time for which the button tells what it did.

/**
 * A button "Copy" for an element's text. A page without encryption from another machine has no
 * clipboard: there the text is selected, for the reader to copy.
 * @param {HTMLElement} element
 * @param {string} what names it, as `path of data.csv`
 */
export function copyButton(element, what) {
  const label = html("span", {}, "Copy");
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let clock;
  const copy = async () => {
    const copied = await copyText(element.textContent ?? "");
    if (!copied) getSelection()?.selectAllChildren(element);
    fill(label, copied ? "Copied" : "Selected");
    clearTimeout(clock);
    clock = setTimeout(() => fill(label, "Copy"), TOLD_MS);
  };
  return html("button", { type: "button", class: "small copy", click: copy },
    label, html("span", { class: "unseen" }, ` the ${what}`));
}

/** @param {string} text */
async function copyText(text) {
  if (!navigator.clipboard) return false;
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    // The reader, or the browser's settings, forbid it.
    if (!(error instanceof DOMException)) throw error;
    return false;
  }
}
