// Elements from plain values. Text always becomes a text node, so that no name and no log is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: attributes by name (a function listens to that event, `null` and `false` are left out), and children. */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Put `children` in place of what an element has; nothing is touched where they are the same texts and elements. */
export function fill(element, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  const same = wanted.length === element.childNodes.length
    && wanted.every((child, index) => {
      const node = element.childNodes[index];
      return child === node || (!(child instanceof Node) && node.nodeType === Node.TEXT_NODE && node.data === String(child));
    });
  if (!same) element.replaceChildren(...wanted.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Set an attribute only where it differs, so that nothing is announced twice. */
export function put(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  return fill(element, ...children);
}
