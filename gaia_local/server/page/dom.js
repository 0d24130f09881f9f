// @ts-check
// Elements from plain values. Text becomes text nodes, so that no name and no log is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

// Characters that change the direction of text, and so can hide its meaning.
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * A value as text that reads as it is written.
 * @param {unknown} value
 */
export function plain(value) {
  return String(value).replace(TURNS, "\ufffd");
}

/**
 * An HTML element with children and attributes (functions listen; null and false are left out).
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} attributes
 * @param {...Content} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * The same for SVG.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} attributes
 * @param {...Content} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * Replace an element's children, unless they are the same texts and elements already.
 * @template {Element} E
 * @param {E} element
 * @param {...Content} children
 * @returns {E}
 */
export function fill(element, ...children) {
  const wanted = /** @type {any[]} */ (children).flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false);
  const same = wanted.length === element.childNodes.length
    && wanted.every((child, index) => {
      const node = element.childNodes[index];
      return child === node || (!(child instanceof Node)
        && node instanceof Text && node.data === plain(child));
    });
  if (same) return element;
  element.replaceChildren(...wanted.map((child) => (child instanceof Node ? child : plain(child))));
  return element;
}

/**
 * Bring an element's children in order, moving only those that are elsewhere: the keyboard stays.
 * @param {Element} element
 * @param {Element[]} children all of them
 */
export function arrange(element, children) {
  const wanted = new Set(children);
  for (const child of [...element.children]) if (!wanted.has(child)) child.remove();
  let next = element.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else element.insertBefore(child, next);
  }
}

/**
 * Set an attribute only if it differs, so that nothing is announced twice.
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null} value null and false take it away
 */
export function put(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== plain(value)) element.setAttribute(name, plain(value));
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 * @param {Content[]} children
 * @returns {E}
 */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function")
      element.addEventListener(name, /** @type {EventListener} */ (value));
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : plain(value));
  }
  return fill(element, ...children);
}
