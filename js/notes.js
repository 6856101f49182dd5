/** What a node says about its run, in whole sentences and with its own line breaks. */

import { api } from "../../scripts/api.js";
import { Panel, element } from "./panel.js";
import { say } from "./words.js";

export const NOTE_EVENT = "dreamsampler.note";
const MAX_HEIGHT = 320;

/** Shows the settings of a run and its notes below the widgets of a node, as tall as the text is. */
export class NoteView {
  constructor(node) {
    this.used = "";
    this.notes = "";
    this.text = element("div", { className: "ds-note-text", role: "status" });
    this.panel = new Panel(node, "dreamsampler_notes", 0, this.text);
    this.panel.box.classList.add("ds-notes");
    // Fixed to the height of the text: all other panels of the node share what is left.
    const { widget } = this.panel;
    widget.computeLayoutSize = undefined;
    widget.computeSize = () => [0, this.panel.isOpen ? this.panel.space : -ROW_GAP];
    new ResizeObserver(() => this.fit()).observe(this.text);
  }

  /** `settings` as the server words them, such as "t 0.02 to 0.98". */
  showUsed(settings) {
    this.used = settings ? say("used", { settings }) : "";
    this.update();
  }

  showNotes(text) {
    this.notes = text;
    this.update();
  }

  update() {
    const text = [this.used, this.notes].filter(Boolean).join("\n");
    if (text !== this.text.textContent) this.text.textContent = text; // each change is read out
    if (text) this.panel.open();
    else this.panel.close();
    this.fit();
  }

  fit() {
    const height = Math.min(this.text.offsetHeight, MAX_HEIGHT);
    if (this.panel.isOpen && height) this.panel.open(height);
  }
}

/** What the canvas leaves below every widget, in pixels. */
const ROW_GAP = 4;

/** Calls `show(node id, text)` for every note that arrives while a node runs. */
export function listenToNotes(show) {
  api.addEventListener(NOTE_EVENT, ({ detail }) => show(detail.node, detail.text));
}
