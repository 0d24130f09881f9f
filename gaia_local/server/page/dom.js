// Elements from plain values. Text becomes text nodes, so that no name and no log is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

// Characters that change the direction of text, and so can hide its meaning.
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A value as text that reads as it is written. */
export function plain(value) {
  return String(value).replace(TURNS, "\ufffd");
}

/** An HTML element with children and attributes (functions listen; null and false are left out). */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace an element's children, unless they are the same texts and elements already. */
export function fill(element, ...children) {
  const wanted = children.flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false);
  const same = wanted.length === element.childNodes.length
    && wanted.every((child, index) => {
      const node = element.childNodes[index];
      return child === node || (!(child instanceof Node)
        && node.nodeType === Node.TEXT_NODE && node.data === plain(child));
    });
  if (same) return element;
  element.replaceChildren(...wanted.map((child) => (child instanceof Node ? child : plain(child))));
  return element;
}

/** Set an attribute only if it differs, so that nothing is announced twice. */
export function put(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== plain(value)) element.setAttribute(name, plain(value));
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : plain(value));
  }
  return fill(element, ...children);
}
