/** Create and update DOM nodes. Data becomes text or attributes, never markup. */

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean | null | undefined>} Attributes
 */

/**
 * Create an element. An attribute that is null, undefined or false is left out; true sets it without a value.
 *
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  setAttributes(node, attributes);
  node.append(...present(children));
  return node;
}

/**
 * Set or remove attributes of an element.
 *
 * @param {Element} node
 * @param {Attributes} attributes
 */
export function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value === true ? "" : value)) {
      node.setAttribute(name, String(value === true ? "" : value));
    }
  }
}

/**
 * Replace the children of a node, unless their text and attributes are the same. A selection and the focus survive.
 *
 * @param {Element} parent
 * @param {...Child} children
 */
export function setChildren(parent, ...children) {
  const next = present(children).map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  const same =
    next.length === parent.childNodes.length && next.every((child, i) => child.isEqualNode(parent.childNodes[i]));
  if (!same) parent.replaceChildren(...next);
}

/**
 * Show one child for each item, and keep the child of an item that was there before: a video goes on playing.
 *
 * @template T
 * @param {Element} parent
 * @param {readonly T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} create
 * @param {(node: HTMLElement, item: T) => void} update Called for new and kept children.
 */
export function setKeyedChildren(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, child]));
  let position = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = /** @type {HTMLElement | undefined} */ (old.get(key));
    old.delete(key);
    if (!child) {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === position) position = position.nextElementSibling;
    else parent.insertBefore(child, position);
  }
  for (const child of old.values()) child.remove();
}

/**
 * Create an icon of the sprite in icons.svg. It is decoration: name the control in words.
 *
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  setAttributes(svg, { class: "icon", "aria-hidden": "true", focusable: "false" });
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", new URL(`icons.svg#${name}`, import.meta.url).href);
  svg.append(use);
  return svg;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {Child[]} children
 * @returns {(Node | string)[]}
 */
function present(children) {
  return children
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}
