/** SVG files that are dropped on the graph: the host would make a Load Image node of them, which cannot read them. */

import { app } from "../../scripts/app.js";

const LOADER = "DSLoadSVG";
/** Files that the host saved hold their workflow, and it opens that. */
const HOLDS_WORKFLOW = /<metadata>\s*<!\[CDATA\[/i;

/** Makes a Load SVG node of each file. Call once the page is set up. */
export function loadDroppedDrawings() {
  document.addEventListener("drop", takeDrawings, true); // before the host sees them
}

function takeDrawings(event) {
  const files = [...(event.dataTransfer?.files ?? [])];
  const areDrawings = files.length > 0 && files.every((file) => file.name.toLowerCase().endsWith(".svg"));
  if (!areDrawings || event.target !== app.canvas?.canvas) return;
  app.canvas.adjustMouseEvent(event);
  const place = [event.canvasX, event.canvasY];
  if (app.canvas.graph.getNodeOnPos(...place)?.onDragOver?.(event)) return; // dropped on a node that takes files
  event.preventDefault();
  event.stopPropagation();
  files.forEach((file, index) => load(file, [place[0] + 40 * index, place[1] + 40 * index]));
}

async function load(file, place) {
  if (HOLDS_WORKFLOW.test(await file.text())) return app.handleFile(file, "file_drop");
  const node = window.LiteGraph.createNode(LOADER);
  node.pos = place;
  app.canvas.graph.add(node);
  app.canvas.selectNode?.(node);
  const dropped = new DataTransfer();
  dropped.items.add(file);
  node.onDragDrop({ dataTransfer: dropped }); // uploads it, like a drop on the node
}
