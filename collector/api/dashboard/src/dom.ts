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

/**
 * Gives an element new content. Parts that would look the same stay, so that an update destroys neither selection, focus nor scroll
 * position; listeners of new parts are not taken over by those. While a part is being pressed, nothing changes, because the press would do
 * nothing if its target were replaced; the next update comes soon. If a link has the focus, the same link has it afterwards.
 */
export function swap(parent: HTMLElement, ...children: Child[]): void {
  if (pressed(parent)) return;
  const next = document.createDocumentFragment();
  append(next, children);
  const focused = parent.contains(document.activeElement) ? document.activeElement!.getAttribute("href") : null;
  patch(parent, next);
  if (focused && !parent.contains(document.activeElement)) parent.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Makes the children of a node equal to those of another, and keeps as many as possible. */
function patch(parent: Node, next: Node): void {
  const old = [...parent.childNodes], wanted = [...next.childNodes];
  for (const rest of old.slice(wanted.length)) rest.remove();
  wanted.forEach((child, i) => {
    const was = old[i];
    if (!was) parent.appendChild(child);
    else if (was.isEqualNode(child)) return;
    else if (was instanceof Text && child instanceof Text) was.data = child.data;
    else if (was.cloneNode().isEqualNode(child.cloneNode())) patch(was, child);
    else parent.replaceChild(child, was);
  });
}

/** Whether a pointer is pressed on a part of an element. */
export const pressed = (element: HTMLElement): boolean => element.querySelector("a:active, button:active, summary:active") !== null;

/** Sets a text if it is another one, so that screen readers announce no text twice, and a selection remains. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Announces a text to screen readers without moving the focus. */
export const announce = (text: string): void => say(byId("announce"), text);
