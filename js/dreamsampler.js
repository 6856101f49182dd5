/**
 * Adds to the pack's nodes: notes on their runs, a zoomable view of drawings, curves that grow while a node runs, and
 * buttons that add and remove regions; SVG files dropped on the graph become Load SVG nodes. The nodes also work without
 * this file.
 *
 * Everything is a DOM widget, which both of the host's renderers support. No widget has a value, so saved workflows are
 * the same with and without this file.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { loadDroppedDrawings } from "./dropping.js";
import { NoteView, listenToNotes } from "./notes.js";
import { numberStyle, wordNumbers } from "./numbers.js";
import { Panel, afterLayout, button, element, keepInGroups } from "./panel.js";
import { say } from "./words.js";

const DRAWINGS = ["DSSVGOptimizer", "DSLoadSVG", "DSSVGToImage"];
const CURVES = ["DSDistillationSampler", "DSSVGOptimizer", "DSManifoldCorrectiveTrain"];
const CATEGORY = "DreamSampler";
const REGIONS = "DSMaskLocalizedGuidance";
const CURVE_EVENT = "dreamsampler.curve";
const DRAWING_HEIGHT = 220;
const PLOT_HEIGHT = 60;
const CAPTION_HEIGHT = 18;
const MAX_ZOOM = 32;
const ZOOM_PER_PIXEL = 0.002; // a notch of a wheel is some 100 pixels, a pinch 60 events a second of a few
const LINE_HEIGHT = 16; // pixels, where a wheel counts lines
const COPIED_SHOWN = 2000; // milliseconds
const OUTPUT_KEY = "dreamsampler_drawings";
const HOST_PREVIEW = "$$canvas-image-preview";

/** The views that this file has added to each node: `note`, `drawing` and `curve`. */
const views = new WeakMap();

const STYLE = `
.ds-panel { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; min-height: 0; font-size: 11px;
  color: var(--input-text, #ddd); }
.ds-bar { display: flex; gap: 4px; align-items: center; flex: none; }
.ds-bar span { flex: 1; text-align: center; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.ds-bar button { background: var(--comfy-input-bg, #222); color: inherit; border: 1px solid var(--border-color, #444);
  border-radius: 4px; padding: 1px 7px; cursor: pointer; font: inherit; }
.ds-stage { flex: 1; min-height: 0; overflow: auto; border-radius: 4px;
  contain: size; /* else the node grows with the zoom in Nodes 2.0 */
  background: repeating-conic-gradient(#fff 0% 25%, #e4e4e4 0% 50%) 0 0 / 16px 16px; }
.ds-stage img { display: block; width: 100%; height: 100%; object-fit: contain; }
.ds-plots { flex: 1; min-height: 0; display: flex; flex-direction: column; gap: 4px; }
.ds-plot { flex: 1; min-height: ${PLOT_HEIGHT}px; display: flex; border-radius: 4px;
  background: var(--comfy-input-bg, #222); }
.ds-plot div { flex: 0 0 78px; display: flex; flex-direction: column; justify-content: center; padding-left: 6px; }
.ds-plot div span + span { opacity: 0.8; font-variant-numeric: tabular-nums; }
.ds-plot svg { flex: 1; min-width: 0; height: auto; contain: size; }
.ds-plot polyline { fill: none; stroke: #5ab0ff; stroke-width: 1.2; vector-effect: non-scaling-stroke; }
.ds-notes { overflow-y: auto; }
.ds-note-text { flex: none; padding: 2px 4px; font-size: 12px; line-height: 1.4; white-space: pre-wrap;
  overflow-wrap: break-word; user-select: text; cursor: text; }
`;

/** Finds a node by its execution id, which is a path inside subgraphs: "12:3". */
function nodeByExecutionId(id) {
  const path = String(id).split(":");
  let graph = app.rootGraph ?? app.graph;
  for (const subgraph of path.slice(0, -1)) graph = graph?.getNodeById(subgraph)?.subgraph;
  return graph?.getNodeById(path.at(-1));
}

/** Finds a node by the key of its outputs: its execution id, or the ids of its subgraph and of the node in it. */
function nodeByOutputKey(key) {
  const [subgraph, id] = key.split(":");
  return (app.rootGraph ?? app.graph)?.subgraphs?.get(subgraph)?.getNodeById(id) ?? nodeByExecutionId(key);
}

// Drawings

const viewsOfStages = new WeakMap();

// The window hears of the wheel first: with Nodes 2.0 the page takes it before it reaches what is on a node.
window.addEventListener("wheel", (event) => viewsOfStages.get(event.target.closest?.(".ds-stage"))?.wheel(event), {
  capture: true,
  passive: false,
});

/** Shows SVG files one at a time, sharp at any zoom, with buttons to copy and save them. */
class DrawingView {
  constructor(node) {
    this.files = [];
    this.index = 0;
    this.zoom = 1;
    this.image = element("img", { alt: "", draggable: false });
    this.stage = element("div", { className: "ds-stage" }, this.image);
    this.caption = element("span", { role: "status" });
    this.bar = element(
      "div",
      { className: "ds-bar" },
      button("‹", say("previous"), () => this.choose(this.index - 1)),
      button("›", say("next"), () => this.choose(this.index + 1)),
      this.caption,
      button("−", say("smaller"), () => this.scale(this.zoom / 1.5)),
      button("+", say("larger"), () => this.scale(this.zoom * 1.5)),
      button(say("copy"), say("copyTip"), () => this.copy()),
      button(say("save"), say("saveTip"), () => this.download()),
    );
    viewsOfStages.set(this.stage, this);
    this.stage.addEventListener("dblclick", () => this.scale(1));
    this.panel = new Panel(node, "dreamsampler_drawing", DRAWING_HEIGHT, this.bar, this.stage);
    this.previews = new HostPreviews(node);
  }

  /** `files` are entries of a node's output: filename, subfolder and type. */
  async show(files) {
    this.files = files;
    this.panel.open();
    await this.choose(0);
  }

  async choose(index) {
    if (!this.files.length) return;
    this.index = (index + this.files.length) % this.files.length;
    const file = this.files[this.index];
    const request = (this.request = {});
    const { text, failure } = await contentOf(file);
    if (request !== this.request) return; // another drawing was chosen meanwhile, or the node was removed
    this.clear();
    if (failure) return this.describe(say(failure, { file: file.filename }));
    this.shown = { text, name: file.filename };
    // Inside an <img>, scripts of the file do not run and nothing is fetched for it.
    this.image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    this.image.alt = say("drawing", { file: file.filename });
    const values = { number: this.index + 1, count: this.files.length, size: (text.length / 1024).toFixed(1) };
    this.describe(say(values.count > 1 ? "which" : "size", values));
  }

  /** Shows no drawing, so that none is copied or saved. */
  clear() {
    this.shown = undefined;
    URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute("src");
    this.image.alt = "";
  }

  /** Frees the image of a node that is removed. */
  close() {
    this.request = undefined;
    this.clear();
  }

  /** Sets the caption of the drawing. */
  describe(text) {
    this.description = text;
    this.setCaption(text);
  }

  setCaption(text) {
    this.caption.textContent = text;
    this.caption.title = text;
  }

  /** Zooms around the center of the visible part. */
  scale(zoom) {
    const { stage, image } = this;
    const [x, y] = [
      (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth,
      (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight,
    ];
    this.zoom = Math.min(Math.max(zoom, 1), MAX_ZOOM);
    image.style.width = image.style.height = `${100 * this.zoom}%`;
    stage.scrollLeft = x * stage.scrollWidth - stage.clientWidth / 2;
    stage.scrollTop = y * stage.scrollHeight - stage.clientHeight / 2;
  }

  wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_HEIGHT : 1);
    this.scale(this.zoom * Math.exp(-pixels * ZOOM_PER_PIXEL));
  }

  async copy() {
    if (!this.shown) return;
    this.setCaption(say((await copied(this.shown.text)) ? "copied" : "notCopied"));
    setTimeout(() => this.setCaption(this.description), COPIED_SHOWN);
  }

  download() {
    if (!this.shown) return;
    element("a", { href: this.image.src, download: this.shown.name }).click();
  }
}

/** The `text` of a file; or as `failure` the key of what to say if the server does not have it or cannot be reached. */
async function contentOf({ filename, subfolder = "", type }) {
  const query = new URLSearchParams({ filename, subfolder, type });
  try {
    const answer = await api.fetchApi(`/view?${query}&rand=${Math.random()}`);
    if (answer.ok) return { text: await answer.text() };
    if (answer.status < 500) return { failure: type === "input" ? "goneInput" : "gone" };
  } catch {
    // as below
  }
  return { failure: "noAnswer" };
}

/** Copies a text. Returns whether that was allowed. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByHand(text); // only pages on localhost or https have a clipboard
  }
}

function copiedByHand(text) {
  const area = element("textarea", { value: text });
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  return isCopied;
}

function drawingsOf(output) {
  return (output?.images ?? []).filter((file) => file.filename?.endsWith(".svg"));
}

function showDrawings(node, output) {
  const files = output?.[OUTPUT_KEY] ?? drawingsOf(output);
  if (!files.length) return;
  const { drawing } = views.get(node);
  drawing.show(files);
  output[OUTPUT_KEY] = files;
  delete output.images;
  drawing.previews.remove();
}

/** Keeps the host from showing drawings a second time, blurred when enlarged. It still shows previews during a run. */
class HostPreviews {
  constructor(node) {
    this.node = node;
    this.isRunning = false;
    node.hideOutputImages = true; // Nodes 2.0; pages before 1.49 do not know it
    let shown;
    Object.defineProperty(node, "imgs", {
      configurable: true,
      get: () => shown,
      set: (images) => {
        const previews = this.isRunning ? images?.filter((image) => image.src?.startsWith("blob:")) : undefined;
        shown = previews?.length ? previews : undefined;
      },
    });
    // Only in a graph: the page makes nodes for copying, too, which it never removes.
    const listen = () => api.addEventListener("execution_start", this);
    if (node.graph) listen();
    alsoOn(node, "onAdded", listen);
    alsoOn(node, "onRemoved", () => api.removeEventListener("execution_start", this));
  }

  handleEvent() {
    this.isRunning = true;
    this.height = this.node.size[1];
  }

  /** Removes what the host shows of the run that ended, or of a chosen file. */
  remove() {
    const { node } = this;
    this.isRunning = false;
    for (const outputs of hostStores("nodeOutputs")) delete outputs?.[locatorOf(node)]?.images;
    for (const previews of hostStores("nodePreviewImages")) delete previews?.[locatorOf(node)];
    node.imgs = undefined;
    node.imageIndex = null;
    const index = node.widgets?.findIndex((each) => each.name === HOST_PREVIEW) ?? -1;
    if (index < 0) return;
    node.widgets[index].onRemove?.();
    node.widgets.splice(index, 1);
    node.setSize([node.size[0], Math.max(this.height ?? 0, node.computeSize()[1])]);
  }
}

/** What the host keeps of nodes by locator: plain, and as what Nodes 2.0 watches, which only sees its own changes. */
function hostStores(name) {
  const page = document.querySelector("#vue-app")?.__vue_app__;
  return [page?.config.globalProperties.$pinia?.state.value.nodeOutput?.[name], app[name]];
}

/** The key of a node's outputs and previews in the page. */
function locatorOf(node) {
  return node.graph?.isRootGraph === false ? `${node.graph.id}:${node.id}` : String(node.id);
}

/** Shows the chosen file before anything runs. */
function showChosenFile(node) {
  const widget = node.widgets?.find((each) => each.name === "file");
  if (!widget) return;
  const show = () => {
    if (!widget.value || !node.graph) return; // a node made for copying
    const [, subfolder, filename] = /^(?:(.*)\/)?([^/]+)$/.exec(widget.value) ?? [];
    const { drawing } = views.get(node);
    drawing.show([{ filename, subfolder, type: "input" }]);
    drawing.previews.remove();
  };
  const callback = widget.callback;
  widget.callback = function (...values) {
    const result = callback?.apply(this, values);
    show();
    return result;
  };
  // A workflow sets its value after the node is created, and the host adds its preview one frame later.
  afterLayout(show);
}

// Curves

/** For each plot: its key in a curve, the keys of its label, name and explanation, and whether it is logarithmic. */
const PLOTS = [
  ["loss", "objective", "objectiveName", "objectiveTip", true],
  ["gradient_norm", "gradient", "gradientName", "gradientTip", true],
  ["t", "time", "timeName", "timeTip", false],
  ["training_loss", "loss", "lossName", "lossTip", true],
];

/** Plots values per step, with one line per batch item. Plots without values are hidden. */
class CurveView {
  constructor(node) {
    this.plots = PLOTS.map(([key, label, name, tip, logarithmic]) => {
      const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      lines.setAttribute("viewBox", "0 0 1 1");
      lines.setAttribute("preserveAspectRatio", "none");
      const last = element("span");
      const labels = element("div", {}, element("span", { textContent: say(label) }), last);
      const plot = element("div", { className: "ds-plot", title: say(tip) }, labels, lines);
      plot.setAttribute("role", "img");
      return { key, logarithmic, name, lines, last, plot };
    });
    this.caption = element("span");
    const plots = element("div", { className: "ds-plots" }, ...this.plots.map(({ plot }) => plot));
    const bar = element("div", { className: "ds-bar" }, this.caption);
    this.panel = new Panel(node, "dreamsampler_curve", 0, bar, plots);
  }

  /** Shows a whole curve: lists with one entry per step. `steps` is the total number of steps. */
  show(curve, steps) {
    this.curve = structuredClone(curve);
    this.steps = steps ?? (curve.step.at(-1) ?? -1) + 1;
    this.draw();
  }

  /** Appends to the curve that is shown, or starts a new one. */
  grow(part, steps) {
    if (steps !== this.steps || part.step[0] <= (this.curve.step.at(-1) ?? -1)) return this.show(part, steps);
    for (const key of ["step", ...PLOTS.map(([name]) => name)]) this.curve[key]?.push(...part[key]);
    this.draw();
  }

  draw() {
    const { curve, steps } = this;
    const shown = PLOTS.filter(([key]) => curve[key]).length;
    this.panel.open(CAPTION_HEIGHT + shown * (PLOT_HEIGHT + 4));
    this.caption.textContent = say("step", { method: curve.method, step: (curve.step.at(-1) ?? -1) + 1, steps });
    for (const plot of this.plots) {
      const values = curve[plot.key];
      plot.plot.style.display = values ? "" : "none";
      if (!values) continue;
      plot.lines.replaceChildren(...polylines(curve.step, values, steps, plot.logarithmic));
      const last = values.at(-1) ?? [];
      plot.last.textContent = last.length ? (last.reduce((a, b) => a + b) / last.length).toPrecision(3) : "";
      const label = say("curve", { name: say(plot.name), last: plot.last.textContent });
      plot.plot.setAttribute("aria-label", label);
    }
  }
}

function polylines(steps, values, total, logarithmic) {
  const scaled = values.map((each) => each.map((value) => (logarithmic ? Math.log(Math.max(value, 1e-30)) : value)));
  let [low, high] = [Infinity, -Infinity];
  for (const value of scaled.flat().filter(Number.isFinite)) {
    [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  const height = (value) => (high > low ? 0.95 - (0.9 * (value - low)) / (high - low) : 0.5);
  return (scaled[0] ?? []).map((_, item) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const points = scaled.map((each, n) => [steps[n] / Math.max(total - 1, 1), height(each[item])]);
    line.setAttribute("points", points.filter((point) => point.every(Number.isFinite)).map(String).join(" "));
    return line;
  });
}

function showCurve(node, output) {
  const [curve] = output?.distillation ?? [];
  if (curve) views.get(node).curve.show(curve);
}

api.addEventListener(CURVE_EVENT, ({ detail }) => {
  const { curve, note } = views.get(nodeByExecutionId(detail.node)) ?? {};
  curve?.grow(detail.curve, detail.steps);
  note?.showUsed(detail.curve.used);
});

// Regions

const regionOf = (input) => Number(/^(?:mask|conditioning)_(\d+)$/.exec(input.name)?.[1] ?? 0);

/** Reduces the inputs to one region and adds buttons that add and remove regions, up to `most`. */
function addRegionButtons(node, most) {
  const rows = () => Math.max(...node.inputs.map(regionOf), 0);
  const translate = keepTranslations(node);
  const add = () => {
    const row = rows() + 1;
    if (row > most) return;
    node.addInput(`mask_${row}`, "MASK", { shape: 7 });
    node.addInput(`conditioning_${row}`, "CONDITIONING", { shape: 7 });
    translate();
  };
  const remove = () => {
    const row = rows();
    if (row <= 1) return;
    for (let slot = node.inputs.length - 1; slot >= 0; slot -= 1) {
      if (regionOf(node.inputs[slot]) === row) node.removeInput(slot);
    }
  };
  const bar = element(
    "div",
    { className: "ds-bar" },
    button(say("addRegion"), say("addRegionTip", { most }), () => undoable(add)),
    button(say("removeRegion"), say("removeRegionTip"), () => undoable(remove)),
  );
  new Panel(node, "dreamsampler_regions", 26, bar).open();
  for (let row = rows(); row > 1; row -= 1) remove();
}

/** Does something whenever the page calls a method of a node, before what that does already. */
function alsoOn(node, name, act) {
  const own = node[name];
  node[name] = function (...values) {
    act(...values);
    return own?.apply(this, values);
  };
}

/** Changes the graph as one step that can be undone. By itself, the page only looks for changes before a click. */
function undoable(change) {
  app.canvas.emitBeforeChange();
  change();
  app.canvas.emitAfterChange();
}

/** Returns what gives added inputs the names that the page made for them, as it does for a workflow that it opens. */
function keepTranslations(node) {
  const names = new Map(node.inputs.map((input) => [input.name, input.localized_name]));
  const translate = () => {
    for (const input of node.inputs) input.localized_name = names.get(input.name) ?? input.localized_name;
  };
  const onConfigure = node.onConfigure;
  node.onConfigure = function (...values) {
    translate();
    return onConfigure?.apply(this, values);
  };
  return translate;
}

/** The largest number of regions in the definition of a node. */
function maxRegions(node) {
  const { required = {}, optional = {} } = node.constructor.nodeData?.input ?? {};
  return Math.max(...[...Object.keys(required), ...Object.keys(optional)].map((name) => regionOf({ name })), 1);
}

// Notes

listenToNotes((id, text) => views.get(nodeByExecutionId(id))?.note.showNotes(text));

function showNotes(node, output) {
  const { note } = views.get(node);
  note.showUsed(output?.distillation?.[0]?.used);
  note.showNotes((output?.text ?? []).join("\n"));
}

// The first view of templates

/** The view that a template's file asks for, while the page opens it. */
let templateView;

/**
 * Takes the view from a template's file, together with the mark that makes it a template: the opened workflow is the
 * user's own, whose view neither undo nor another tab may move.
 */
function takeTemplateView({ extra }) {
  if (extra?.dreamsampler !== "template") return undefined;
  delete extra.dreamsampler;
  return structuredClone(extra.ds);
}

/**
 * Newer pages fit every template to the window, so that texts beside tall nodes are too small to read, and ignore its
 * own view.
 */
function showTemplate(view) {
  if (!view || app.extensionManager.setting.get("Comfy.EnableWorkflowViewRestore") === false) return;
  const { ds } = app.canvas;
  ds.scale = view.scale;
  [ds.offset[0], ds.offset[1]] = view.offset;
  app.canvas.setDirty(true, true);
}

// All nodes

function showOutput(node, output) {
  showNotes(node, output);
  if (views.get(node).drawing) showDrawings(node, output);
  if (views.get(node).curve) showCurve(node, output);
}

/** Shows the outputs that the page keeps of earlier runs. */
function showOutputs(outputs) {
  for (const [key, output] of Object.entries(outputs ?? {})) {
    const node = nodeByOutputKey(key);
    if (views.has(node)) showOutput(node, output);
  }
}

app.registerExtension({
  name: "DreamSampler",

  setup() {
    document.head.append(element("style", { textContent: STYLE + numberStyle(".ds-notes") }));
    loadDroppedDrawings();
  },

  beforeConfigureGraph(graph) {
    templateView = takeTemplateView(graph);
  },

  afterConfigureGraph() {
    const view = templateView;
    templateView = undefined; // the page also calls this for graphs that it does not announce
    showTemplate(view);
    afterLayout(() => showTemplate(view)); // Nodes 2.0 fits later
    showOutputs(app.nodeOutputs); // undo makes new nodes, but keeps their outputs
  },

  nodeCreated(node) {
    if (node.constructor.nodeData?.category !== CATEGORY) return;
    const type = node.comfyClass;
    if (type === REGIONS) addRegionButtons(node, maxRegions(node));
    wordNumbers(node);
    const note = new NoteView(node);
    keepInGroups(node, note.panel);
    const drawing = DRAWINGS.includes(type) ? new DrawingView(node) : undefined;
    const curve = CURVES.includes(type) ? new CurveView(node) : undefined;
    views.set(node, { note, drawing, curve });
    if (type === "DSLoadSVG") showChosenFile(node);
    alsoOn(node, "onExecuted", (output) => showOutput(node, output));
    alsoOn(node, "onRemoved", () => drawing?.close());
  },

  /** The page calls this when a workflow is opened again. */
  onNodeOutputsUpdated: showOutputs,
});
