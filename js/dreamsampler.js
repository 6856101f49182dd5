/**
 * What the page adds to the pack's nodes: drawings to look at closely, curves that grow while a node runs, and rows of
 * regions that come and go. Nothing is lost without it: the nodes then show what the host shows of any node.
 *
 * Everything is a DOM widget, which both of the host's renderers place, and no widget has a value: saved workflows are
 * the same with and without this file.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { say } from "./words.js";

const DRAWINGS = ["DSSVGOptimizer", "DSLoadSVG", "DSSVGToImage"];
const CURVES = ["DSDistillationSampler", "DSSVGOptimizer", "DSManifoldCorrectiveTrain"];
const REGIONS = "DSMaskLocalizedGuidance";
const CURVE_EVENT = "dreamsampler.curve";
const CLOSEST = 32;
const SHOWN_HERE = "dreamsampler_drawings";
const HOST_PREVIEW = "$$canvas-image-preview";

/** What this file has put on a node: its `drawing` and its `curve`. */
const views = new WeakMap();

const STYLE = `
.ds-panel { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; min-height: 0; font-size: 11px;
  color: var(--input-text, #ddd); }
.ds-bar { display: flex; gap: 4px; align-items: center; flex: none; }
.ds-bar span { flex: 1; text-align: center; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.ds-bar button { background: var(--comfy-input-bg, #222); color: inherit; border: 1px solid var(--border-color, #444);
  border-radius: 4px; padding: 1px 7px; cursor: pointer; font: inherit; }
.ds-stage { flex: 1; min-height: 0; overflow: auto; border-radius: 4px;
  background: repeating-conic-gradient(#fff 0% 25%, #e4e4e4 0% 50%) 0 0 / 16px 16px; }
.ds-stage img { display: block; width: 100%; height: 100%; object-fit: contain; }
.ds-plots { flex: 1; min-height: 0; display: flex; flex-direction: column; gap: 3px; }
.ds-plot { flex: 1; min-height: 0; position: relative; background: var(--comfy-input-bg, #222); border-radius: 4px; }
.ds-plot svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.ds-plot polyline { fill: none; stroke: #5ab0ff; stroke-width: 1.2; vector-effect: non-scaling-stroke; }
.ds-plot span { position: absolute; top: 1px; left: 5px; opacity: 0.8; }
.ds-plot span + span { left: auto; right: 5px; }
`;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A button with what it does as its tooltip and as its name for those who cannot see it. */
function button(label, title, onclick) {
  const made = element("button", { type: "button", textContent: label, title, onclick });
  made.setAttribute("aria-label", title);
  return made;
}

/**
 * A DOM widget without a value, which takes no room until it is opened, and then at least `height` pixels.
 *
 * It is made with its node, because one of the renderers does not notice widgets that come later.
 */
class Panel {
  constructor(node, name, height, ...children) {
    this.node = node;
    this.isOpen = false;
    this.box = element("div", { className: "ds-panel" }, ...children);
    this.box.dataset.nodeType = node.comfyClass;
    this.box.style.display = "none";
    const widget = node.addDOMWidget(name, name, this.box, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => (this.isOpen ? height : 0),
      getMaxHeight: () => (this.isOpen ? undefined : 0),
    });
    widget.serialize = false;
    this.box.style.minHeight = `${height}px`;
  }

  open() {
    if (this.isOpen) return;
    this.isOpen = true;
    this.box.style.display = "";
    fit(this.node);
  }
}

/** Makes a node high enough for its widgets; nobody's larger node shrinks. */
function fit(node) {
  const wanted = node.computeSize();
  node.setSize([Math.max(node.size[0], wanted[0]), Math.max(node.size[1], wanted[1])]);
  app.graph?.setDirtyCanvas(true, true);
}

/** A node by the id it runs under, which inside subgraphs is a path: "12:3". */
function nodeThatRuns(id) {
  const path = String(id).split(":");
  let graph = app.rootGraph ?? app.graph;
  for (const subgraph of path.slice(0, -1)) graph = graph?.getNodeById(subgraph)?.subgraph;
  return graph?.getNodeById(path.at(-1));
}

/** A node by the key of its outputs: the id it runs under, or in a subgraph that one's own id and the node's in it. */
function nodeOfOutputs(key) {
  const [subgraph, id] = key.split(":");
  return (app.rootGraph ?? app.graph)?.subgraphs?.get(subgraph)?.getNodeById(id) ?? nodeThatRuns(key);
}

// Drawings

/** Shows SVG files: crisp at any size, one at a time, to be copied and kept. */
class DrawingView {
  constructor(node) {
    this.files = [];
    this.chosen = 0;
    this.zoom = 1;
    this.picture = element("img", { alt: "", draggable: false });
    this.stage = element("div", { className: "ds-stage" }, this.picture);
    this.caption = element("span");
    this.bar = element(
      "div",
      { className: "ds-bar" },
      button("‹", say("previous"), () => this.choose(this.chosen - 1)),
      button("›", say("next"), () => this.choose(this.chosen + 1)),
      this.caption,
      button("−", say("smaller"), () => this.scale(this.zoom / 1.5)),
      button("+", say("larger"), () => this.scale(this.zoom * 1.5)),
      button(say("copy"), say("copyTip"), () => this.copy()),
      button(say("save"), say("saveTip"), () => this.download()),
    );
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("dblclick", () => this.scale(1));
    this.panel = new Panel(node, "dreamsampler_drawing", 220, this.bar, this.stage);
  }

  /** `files` are as the host names them: filename, subfolder and type. */
  async show(files) {
    this.files = files;
    this.panel.open();
    await this.choose(0);
  }

  async choose(number) {
    if (!this.files.length) return;
    this.chosen = (number + this.files.length) % this.files.length;
    const file = this.files[this.chosen];
    const request = (this.request = {});
    const query = new URLSearchParams({ filename: file.filename, subfolder: file.subfolder ?? "", type: file.type });
    const answer = await api.fetchApi(`/view?${query}&rand=${Math.random()}`);
    const text = answer.ok ? await answer.text() : undefined;
    if (request !== this.request) return; // another drawing was chosen since, or the node is gone
    if (text === undefined) return this.tell(say("gone", { file: file.filename }));
    this.text = text;
    URL.revokeObjectURL(this.picture.src);
    // In an <img> no script of a file runs, and nothing is fetched for it.
    this.picture.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    this.picture.alt = say("drawing", { file: file.filename });
    const told = { number: this.chosen + 1, count: this.files.length, size: (text.length / 1024).toFixed(1) };
    this.tell(say(told.count > 1 ? "which" : "size", told));
  }

  /** Lets go of what the page holds for a node that is taken away. */
  close() {
    this.request = undefined;
    URL.revokeObjectURL(this.picture.src);
  }

  tell(text) {
    this.caption.textContent = text;
    this.caption.title = text;
  }

  /** Keeps the middle of what is seen where it is. */
  scale(zoom) {
    const { stage, picture } = this;
    const [x, y] = [
      (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth,
      (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight,
    ];
    this.zoom = Math.min(Math.max(zoom, 1), CLOSEST);
    picture.style.width = picture.style.height = `${100 * this.zoom}%`;
    stage.scrollLeft = x * stage.scrollWidth - stage.clientWidth / 2;
    stage.scrollTop = y * stage.scrollHeight - stage.clientHeight / 2;
  }

  wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.scale(this.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2));
  }

  async copy() {
    if (!this.text) return;
    try {
      await navigator.clipboard.writeText(this.text);
    } catch {
      copyByHand(this.text); // pages that are not on localhost or https have no clipboard
    }
    this.tell(say("copied"));
  }

  download() {
    if (!this.text) return;
    element("a", { href: this.picture.src, download: this.files[this.chosen].filename }).click();
  }
}

function copyByHand(text) {
  const area = element("textarea", { value: text });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function drawingsOf(output) {
  return (output?.images ?? []).filter((file) => file.filename?.endsWith(".svg"));
}

function showDrawings(node, output) {
  const files = output?.[SHOWN_HERE] ?? drawingsOf(output);
  if (!files.length) return;
  views.get(node).drawing.show(files);
  output[SHOWN_HERE] = files;
  hideFromHost(node, output);
}

/** The host would show drawings once more, as pictures that blur when they are enlarged. */
function hideFromHost(node, output) {
  delete output?.images;
  for (const previews of hostPreviews()) delete previews?.[locatorOf(node)];
  node.imgs = undefined;
  node.imageIndex = null;
  const place = node.widgets?.findIndex((each) => each.name === HOST_PREVIEW) ?? -1;
  if (place < 0) return;
  node.widgets[place].onRemove?.();
  node.widgets.splice(place, 1);
  node.setSize([node.size[0], node.computeSize()[1]]);
}

/** Pictures of running nodes by locator, as each renderer keeps them. */
function hostPreviews() {
  const page = document.querySelector("#vue-app")?.__vue_app__;
  return [app.nodePreviewImages, page?.config.globalProperties.$pinia?.state.value.nodeOutput?.nodePreviewImages];
}

/** The key of a node's outputs and previews on the page. */
function locatorOf(node) {
  return node.graph?.isRootGraph === false ? `${node.graph.id}:${node.id}` : String(node.id);
}

/** The chosen file is seen before anything runs. */
function showChosenFile(node) {
  const widget = node.widgets?.find((each) => each.name === "file");
  if (!widget) return;
  // The host would show the file once more, as soon as it has loaded it as a picture, which may be at any time.
  Object.defineProperty(node, "imgs", { configurable: true, get() {}, set() {} });
  const show = () => {
    if (!widget.value) return;
    const [, subfolder, filename] = /^(?:(.*)\/)?([^/]+)$/.exec(widget.value) ?? [];
    views.get(node).drawing.show([{ filename, subfolder, type: "input" }]);
    hideFromHost(node, app.nodeOutputs?.[locatorOf(node)]);
  };
  const callback = widget.callback;
  widget.callback = function (...values) {
    const result = callback?.apply(this, values);
    show();
    return result;
  };
  // A workflow's own value comes after the node is made, and the host's preview in the frame after that.
  requestAnimationFrame(() => requestAnimationFrame(show));
}

// Curves

/** Of each plot: its key in a curve, what it is called on the plot and to those who cannot see it, and its scale. */
const PLOTS = [
  ["loss", () => say("objective"), "objectiveName", true],
  ["gradient_norm", () => "|G|", "gradientName", true],
  ["t", () => "t", "timeName", false],
  ["training_loss", () => say("loss"), "lossName", true],
];

/** Plots what each step did, a line for each picture of the batch; a curve has some of the plots. */
class CurveView {
  constructor(node) {
    this.plots = PLOTS.map(([key, label, name, logarithmic]) => {
      const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      lines.setAttribute("viewBox", "0 0 1 1");
      lines.setAttribute("preserveAspectRatio", "none");
      const last = element("span");
      const plot = element("div", { className: "ds-plot" }, lines, element("span", { textContent: label() }), last);
      plot.setAttribute("role", "img");
      return { key, logarithmic, name, lines, last, plot };
    });
    this.caption = element("span");
    const plots = element("div", { className: "ds-plots" }, ...this.plots.map(({ plot }) => plot));
    const bar = element("div", { className: "ds-bar" }, this.caption);
    this.panel = new Panel(node, "dreamsampler_curve", 130, bar, plots);
  }

  /** A whole curve: lists with one entry for each step; `steps` says how many there will be. */
  show(curve, steps) {
    this.curve = structuredClone(curve);
    this.steps = steps ?? (curve.step.at(-1) ?? -1) + 1;
    this.draw();
  }

  /** More of the curve that is shown, or the beginning of another. */
  grow(part, steps) {
    if (steps !== this.steps || part.step[0] <= (this.curve.step.at(-1) ?? -1)) return this.show(part, steps);
    for (const key of ["step", ...PLOTS.map(([name]) => name)]) this.curve[key]?.push(...part[key]);
    this.draw();
  }

  draw() {
    const { curve, steps } = this;
    this.panel.open();
    this.caption.textContent = say("step", { method: curve.method, step: (curve.step.at(-1) ?? -1) + 1, steps });
    for (const plot of this.plots) {
      const values = curve[plot.key];
      plot.plot.style.display = values ? "" : "none";
      if (!values) continue;
      plot.lines.replaceChildren(...polylines(curve.step, values, steps, plot.logarithmic));
      const last = values.at(-1) ?? [];
      plot.last.textContent = last.length ? (last.reduce((a, b) => a + b) / last.length).toPrecision(3) : "";
      const told = { name: say(plot.name), last: plot.last.textContent };
      plot.plot.setAttribute("aria-label", say("curve", told));
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
    const places = scaled.map((each, n) => [steps[n] / Math.max(total - 1, 1), height(each[item])]);
    line.setAttribute("points", places.filter((place) => place.every(Number.isFinite)).map(String).join(" "));
    return line;
  });
}

function showCurve(node, output) {
  const [curve] = output?.distillation ?? [];
  if (curve) views.get(node).curve.show(curve);
}

api.addEventListener(CURVE_EVENT, ({ detail }) => {
  views.get(nodeThatRuns(detail.node))?.curve?.grow(detail.curve, detail.steps);
});

// Regions

const regionOf = (input) => Number(/^(?:mask|conditioning)_(\d+)$/.exec(input.name)?.[1] ?? 0);

/** Only the regions that are used, and buttons for more of them. */
function addRegionButtons(node, most) {
  const rows = () => Math.max(...node.inputs.map(regionOf), 0);
  const add = () => {
    const row = rows() + 1;
    if (row > most) return;
    node.addInput(`mask_${row}`, "MASK", { shape: 7 });
    node.addInput(`conditioning_${row}`, "CONDITIONING", { shape: 7 });
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
    button(say("addRegion"), say("addRegionTip", { most }), add),
    button(say("removeRegion"), say("removeRegionTip"), remove),
  );
  new Panel(node, "dreamsampler_regions", 26, bar).open();
  for (let row = rows(); row > 1; row -= 1) remove();
}

/** What a node's class says of how many regions there can be. */
function mostRegions(node) {
  const { required = {}, optional = {} } = node.constructor.nodeData?.input ?? {};
  return Math.max(...[...Object.keys(required), ...Object.keys(optional)].map((name) => regionOf({ name })), 1);
}

function showOutput(node, output) {
  if (views.get(node).drawing) showDrawings(node, output);
  if (views.get(node).curve) showCurve(node, output);
}

app.registerExtension({
  name: "DreamSampler",

  setup() {
    document.head.append(element("style", { textContent: STYLE }));
  },

  nodeCreated(node) {
    const type = node.comfyClass;
    if (type === REGIONS) addRegionButtons(node, mostRegions(node));
    if (!DRAWINGS.includes(type) && !CURVES.includes(type)) return;
    const drawing = DRAWINGS.includes(type) ? new DrawingView(node) : undefined;
    const curve = CURVES.includes(type) ? new CurveView(node) : undefined;
    views.set(node, { drawing, curve });
    if (type === "DSLoadSVG") showChosenFile(node);
    const onExecuted = node.onExecuted;
    node.onExecuted = function (output) {
      showOutput(this, output);
      return onExecuted?.call(this, output);
    };
    const onRemoved = node.onRemoved;
    node.onRemoved = function () {
      drawing?.close();
      return onRemoved?.call(this);
    };
  },

  /** Outputs of an earlier run, shown again when its workflow is. */
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs ?? {})) {
      const node = nodeOfOutputs(id);
      if (views.has(node)) showOutput(node, output);
    }
  },
});
