// Making elements. Attackers choose paths, hosts and error texts, so everything is inserted as text, never as markup.

type Child = Node | string | number | null | undefined | false;
type Attributes = Record<string, string | number | boolean | undefined | ((event: Event) => void)>;

/** Makes an element. Attributes that begin with "on" are listeners. Attributes that are false or undefined are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(typeof child === "object" ? child : document.createTextNode(String(child)));
  }
}

const svgSpace = "http://www.w3.org/2000/svg";

export function svg(tag: string, attributes: Record<string, string | number>, ...children: Element[]): SVGElement {
  const element = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/** Replaces the content of an element if it would look different, so that an update destroys neither selection, focus nor scroll position. */
export function swap(parent: HTMLElement, ...children: Child[]): void {
  const next = document.createDocumentFragment();
  append(next, children);
  const same = next.childNodes.length === parent.childNodes.length && [...next.childNodes].every((node, i) => node.isEqualNode(parent.childNodes[i]!));
  if (!same) parent.replaceChildren(next);
}

/** Announces a text to screen readers without moving the focus. */
export function announce(text: string): void {
  const region = byId("announce");
  if (region.textContent !== text) region.textContent = text;
}
