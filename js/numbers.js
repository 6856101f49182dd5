/**
 * Numbers whose lowest value, -1, leaves the setting to the paper: they read "paper default".
 * They are still saved as -1.
 */

import { say } from "./words.js";

const UNSET = -1;
const WORDS = "--ds-paper-default";

/** Whether a widget has the value that leaves it to the paper. Other numbers may be lower than -1. */
const isUnset = (widget) => widget.value === UNSET && widget.options?.min === UNSET;

/** Words the numbers of a node for the canvas, which asks a widget for its text. */
export function wordNumbers(node) {
  // Not once for all: the page may load its language after the script.
  document.documentElement.style.setProperty(WORDS, JSON.stringify(say("paperDefault")));
  for (const widget of node.widgets ?? []) {
    if (widget.type !== "number" || widget.options?.min !== UNSET) continue;
    const text = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(widget), "_displayValue");
    Object.defineProperty(widget, "_displayValue", {
      configurable: true,
      get() {
        const shown = text?.get.call(this) ?? String(this.value);
        return shown && isUnset(this) ? say("paperDefault") : shown;
      },
    });
  }
}

/**
 * The same for Nodes 2.0, whose number field has no such hook: words cover the number until the field is clicked.
 *
 * `marker` selects what only the pack's nodes have inside.
 */
export function numberStyle(marker) {
  const field = `input[aria-valuemin="${UNSET}"][aria-valuenow="${UNSET}"]:not(:focus)`;
  const box = `[data-node-id]:has(${marker}) :has(> ${field})`;
  return `
${box} { position: relative; }
${box} > ${field} { color: transparent; }
${box}::after { content: var(${WORDS}); position: absolute; inset: 0; display: flex;
  align-items: center; padding-left: 4px; overflow: hidden; white-space: nowrap; pointer-events: none; opacity: 0.8; }
`;
}
