/** The space that the page script adds to a node, and what goes into it. */

import { app } from "../../scripts/app.js";

export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  created.append(...children);
  return created;
}

/** A button with `title` as its tooltip and its accessible name. */
export function button(label, title, onclick) {
  const created = element("button", { type: "button", textContent: label, title, onclick });
  created.setAttribute("aria-label", title);
  return created;
}

/**
 * A DOM widget without a value. It takes no space until it is opened, then at least `height` pixels.
 *
 * Create it together with its node, because one of the renderers does not notice widgets that are added later.
 */
export class Panel {
  constructor(node, name, height, ...children) {
    this.node = node;
    this.height = height;
    this.isOpen = false;
    this.box = element("div", { className: "ds-panel" }, ...children);
    this.box.dataset.nodeType = node.comfyClass;
    this.box.dataset.panel = name;
    this.box.style.display = "none";
    this.widget = node.addDOMWidget(name, name, this.box, {
      serialize: false,
      hideOnZoom: false,
      hideInPanel: true, // of the host's side panel, which lists the widgets of the selected node
      getMinHeight: () => this.space,
      getMaxHeight: () => (this.isOpen ? undefined : 0),
    });
    this.widget.serialize = false;
    afterLayout(() => this.replaceOlder());
  }

  /** Undo makes a node of the same id, and Nodes 2.0 goes on showing what the older node had in this place. */
  replaceOlder() {
    if (this.node.graph !== app.canvas.graph) return;
    const older = elementOf(this.node)?.querySelector(`[data-panel=${this.box.dataset.panel}]`);
    if (older !== this.box) older?.replaceWith(this.box);
  }

  /** The height that the node reserves: the canvas leaves a margin around a DOM widget. */
  get space() {
    return this.isOpen ? this.height + 2 * (this.widget?.margin ?? 0) : 0;
  }

  /** Opens the panel, or changes its least height in pixels. */
  open(height = this.height) {
    if (this.isOpen && height === this.height) return;
    this.isOpen = true;
    this.height = height;
    this.box.style.display = "";
    this.box.style.minHeight = `${height}px`;
    fit(this.node);
  }

  close() {
    this.isOpen = false;
    this.box.style.display = "none";
    app.graph?.setDirtyCanvas(true, true);
  }
}

/** Makes a node tall enough for its widgets. Never makes it smaller. In Nodes 2.0 the page does it by itself. */
function fit(node) {
  if (!window.LiteGraph.vueNodesMode) {
    const needed = node.computeSize();
    node.setSize([Math.max(node.size[0], needed[0]), Math.max(node.size[1], needed[1])]);
  }
  app.graph?.setDirtyCanvas(true, true);
}

const GROUP_PADDING = 10;

/**
 * Keeps a node within its groups when it grows, by its panels or by an image that the host shows on it.
 *
 * The canvas calls `onResize`. Nodes 2.0 may leave a node's size as it was: there the element that holds `panel` grows.
 */
export function keepInGroups(node, panel) {
  const stretch = () => afterLayout(() => stretchGroups(node));
  const onResize = node.onResize;
  node.onResize = function (...values) {
    stretch();
    return onResize?.apply(this, values);
  };
  const growth = new ResizeObserver(stretch);
  new ResizeObserver(() => {
    const drawn = panel.box.closest(DRAWN);
    if (drawn) growth.observe(drawn);
  }).observe(panel.box);
}

/** Selects the elements of nodes in Nodes 2.0. */
const DRAWN = "[data-node-id]";

/** The element of a node in Nodes 2.0. */
function elementOf(node) {
  return document.querySelector(`[data-node-id="${node.id}"]`);
}

/** The height of a node without its title, as either renderer draws it. */
function heightOf(node) {
  const drawn = elementOf(node);
  return Math.max(node.size[1], drawn ? drawn.offsetHeight - window.LiteGraph.NODE_TITLE_HEIGHT : 0);
}

/** Makes the groups that a node stands in tall enough for it. */
function stretchGroups(node) {
  const [x, y] = node.pos;
  const [right, bottom] = [x + node.size[0], y + heightOf(node) + GROUP_PADDING];
  for (const group of node.graph?.groups ?? []) {
    const [left, top] = group.pos;
    const isInside = left <= x && right <= left + group.size[0] && top <= y && y <= top + group.size[1];
    if (isInside && top + group.size[1] < bottom) group.size = [group.size[0], bottom - top];
  }
  app.graph?.setDirtyCanvas(true, true);
}

/** Both renderers have the new sizes after two frames. */
export function afterLayout(action) {
  requestAnimationFrame(() => requestAnimationFrame(action));
}
