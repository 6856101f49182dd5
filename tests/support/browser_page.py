"""A page of a real server in Chromium, operated like a user does."""

from __future__ import annotations

import base64
import json
import mimetypes
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from comfy_client import ComfyClient
from devhost import CHECKOUT
from playwright.sync_api import Browser, ConsoleMessage, Locator, Response, expect, sync_playwright
from playwright.sync_api import Page as Tab
from queueing.workflow import templates

SCREENSHOTS = CHECKOUT / "browser_output"
"""Folder for screenshots, to be checked by eye."""
CHECKPOINT = "dreamsampler_reference.safetensors"
READY = 180_000
"""Timeout in milliseconds, long enough for slow machines."""
NOT_OURS = re.compile("Failed to load resource|api.comfy.org|huggingface.co|cleanup event listeners for graph")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without windows. Raises FileNotFoundError if there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise FileNotFoundError("Chromium is not installed. On Debian, run 'apt-get install chromium'.")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]  # emulating one takes longer than drawing without
        yield playwright.chromium.launch(executable_path=path, args=arguments)


def configure(client: ComfyClient, *, nodes_2: bool, language: str = "en") -> None:
    """Give the server the settings of a returning user; `nodes_2` chooses the renderer."""
    settings = {
        "Comfy.Locale": language,
        "Comfy.TutorialCompleted": True,
        "Comfy.VueNodes.Enabled": nodes_2,
        "Comfy.Workflow.ShowMissingModelsWarning": False,  # the templates' checkpoints are not installed
    }
    for name, value in settings.items():
        post(f"{client.url}/settings/{name}", value)


def post(address: str, value: object) -> None:
    """Send a value as JSON."""
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(address, json.dumps(value).encode(), headers))


def node_of(node_type: str) -> str:
    """A JavaScript expression for the first node of a type in the graph."""
    return f"app.graph.nodes.find((each) => each.type === '{node_type}')"


class Page:
    """ComfyUI in a browser tab."""

    def __init__(self, tab: Tab, client: ComfyClient, name: str):
        self.tab, self.client, self._name = tab, client, name
        self.errors: list[str] = []
        tab.set_default_timeout(READY)
        tab.goto(client.url)
        tab.wait_for_function("() => window.app?.graph && window.app.vueAppReady && window.LiteGraph")
        tab.wait_for_function("() => 'DSSVGOptimizer' in window.LiteGraph.registered_node_types")
        tab.get_by_test_id("queue-button").wait_for()
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("console", self._on_console)
        tab.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not NOT_OURS.search(message.text):
            self.errors.append(message.text)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and "dreamsampler" in response.url:
            self.errors.append(f"{response.status} {response.url}")

    def start_over(self) -> None:
        """Open an empty workflow, close all others, and forget the errors so far."""
        self.tab.keyboard.press("Escape")  # leaves a dialog of a test that failed
        self.run(
            """(async () => {
                 const { command, workflow: workflows } = app.extensionManager;
                 await command.execute("Comfy.NewBlankWorkflow");
                 for (const opened of [...workflows.openWorkflows])
                   if (opened.path !== workflows.activeWorkflow.path) await workflows.closeWorkflow(opened);
               })()"""
        )
        self.tab.wait_for_function("() => window.app.rootGraph.nodes.length === 0")
        self.errors.clear()

    def open_template(self, name: str) -> None:
        """Open a template by the file that the template list offers. The list itself takes seconds to draw."""
        offered = self.client._json("/workflow_templates")  # noqa: SLF001
        title = templates()[name].stem
        (pack,) = (pack for pack, titles in offered.items() if title in titles)
        saved = "await (await fetch(`/api/workflow_templates/${value[0]}/${value[1]}.json`)).json()"
        self.run(f"app.loadGraphData({saved}, true, true, value[1])", [pack, title])
        self._wait_for_template(name)

    def open_template_list(self) -> None:
        self.run("app.extensionManager.command.execute('Comfy.BrowseTemplates')")

    def find_in_template_list(self, name: str) -> Locator:
        """Type a template's title into the list's search. Returns its card."""
        title = templates()[name].stem
        self.tab.get_by_role("dialog").locator("input[type=text]:not([readonly])").fill(title)  # in any language
        card = self.tab.get_by_test_id(f"template-workflow-{title}")
        card.wait_for()
        return card

    def choose_in_template_list(self, name: str) -> None:
        """Open a template from the list."""
        self.find_in_template_list(name).click()
        self._wait_for_template(name)
        self.tab.get_by_test_id("template-workflows-content").wait_for(state="hidden")

    def _wait_for_template(self, name: str) -> None:
        nodes = len(json.loads(templates()[name].read_text("utf-8"))["nodes"])
        self.tab.wait_for_function("count => window.app.graph.nodes.length === count", arg=nodes)

    def run(self, script: str, value: Any = None) -> Any:
        """Evaluate a JavaScript expression, which may use `app` and `value`."""
        return self.tab.evaluate(f"async value => {{ const app = window.app; return await ({script}) }}", value)

    def set(self, node_type: str, **widgets: Any) -> None:
        """Set widgets of all nodes of a type, as if a user changed them."""
        change = """
            ([type, values]) => {
              for (const node of window.app.graph.nodes.filter((each) => each.type === type)) {
                for (const [name, value] of Object.entries(values)) {
                  const widget = node.widgets.find((each) => each.name === name);
                  widget.value = value;
                  widget.callback?.(value);
                }
              }
            }
        """
        self.tab.evaluate(change, [node_type, widgets])

    def show(self, node_type: str) -> None:
        """Scroll to a node, including its lower end."""
        self.run(
            """(() => {
                 const node = app.canvas.graph.nodes.find((each) => each.type === value);
                 const view = app.canvas.ds;
                 view.scale = 0.7;
                 view.offset = [400 - node.pos[0], 1200 - node.pos[1] - node.size[1]];
                 app.canvas.setDirty(true, true);
               })()""",
            node_type,
        )

    def settled(self, expression: str, times: int = 3) -> Any:
        """The value of a JavaScript expression once it has been the same `times` times, with frames drawn between."""
        return self.run(
            f"""(async () => {{
                  const deadline = Date.now() + {READY};
                  let same = 0, before;
                  while (same < {times}) {{
                    if (Date.now() > deadline) throw new Error("It keeps changing.");
                    const now = JSON.stringify(await ({expression}));
                    same = now === before ? same + 1 : 1;
                    before = now;
                    await new Promise((resolve) => setTimeout(resolve, 100));
                    await new Promise(requestAnimationFrame);
                  }}
                  return JSON.parse(before);
                }})()"""
        )

    def wait_for(self, expression: str, value: Any = None) -> None:
        """Wait until a JavaScript expression, which may use `app` and `value`, is true."""
        self.tab.wait_for_function(f"value => {{ const app = window.app; return {expression} }}", arg=value)

    def panels(self, node_type: str) -> Locator:
        """The panels of this pack on nodes of a type: drawings, curves and buttons."""
        return self.tab.locator(f".ds-panel[data-node-type={node_type}]")

    def note(self, node_type: str) -> Locator:
        """What a node says below its widgets."""
        return self.tab.locator(f".ds-notes[data-node-type={node_type}]")

    def drawing(self, node_type: str) -> Locator:
        """The drawing that a node shows."""
        return self.panels(node_type).locator("img[src^=blob]")

    def use_small_model(self) -> None:
        self.set("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)

    def open_svg_edit(self, drawing: str, steps: int) -> None:
        """Open the template svg_edit with a drawing, the reference model and few pixels."""
        self.open_template("svg_edit")
        self.use_small_model()
        self.set("DSLoadSVG", file=drawing)
        self.set("DSSVGOptimizer", steps=steps, canvas_size=96)

    def run_svg_edit(self, drawing: str, steps: int = 3) -> None:
        """Run that template, until its nodes show the drawings and the server has no job left."""
        self.open_svg_edit(drawing, steps)
        self.queue()
        self.expect_step(steps)
        for node_type in ("DSLoadSVG", "DSSVGOptimizer"):
            expect(self.drawing(node_type)).to_be_attached()
        self.wait_for_idle_server()

    def expect_step(self, step: int) -> None:
        """Wait until SVG Optimizer shows the curve of an edit up to its last step."""
        shown = self.tab.get_by_text(f"pds, step {step} of {step}")
        expect(shown).to_be_attached(timeout=READY)

    def wait_for_idle_server(self) -> None:
        self.tab.wait_for_function("async () => !(await (await fetch('/queue')).json()).queue_running.length")

    def queue(self) -> None:
        """Press Run."""
        run = self.tab.get_by_test_id("queue-button")  # on newer pages the button itself, before a group around it
        button = self.tab.get_by_role("button")
        run.and_(button).or_(run.locator(button)).first.click()

    def run_to_end(self) -> str:
        """Press Run and wait. Returns the server's word for how the run ended, such as "success"."""
        before = set(self._history())
        self.queue()
        deadline = time.monotonic() + READY / 1000
        while not (ended := set(self._history()) - before):
            assert time.monotonic() < deadline, "The run did not end."
            self.tab.wait_for_timeout(200)
        return self._history()[ended.pop()]["status"]["status_str"]

    def _history(self) -> dict[str, Any]:
        """The server's records of finished runs."""
        return self.client._json("/history")  # noqa: SLF001

    def screenshot(self, name: str) -> None:
        """Save a screenshot."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.tab.screenshot(path=str(SCREENSHOTS / f"{self._name}_{name}.png"))

    def drop(self, name: str, content: bytes) -> None:
        """Drop a file on the middle of the window, as if from the desktop."""
        script = """
            ([name, type, content]) => {
              const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
              const dropped = new DataTransfer();
              dropped.items.add(new File([bytes], name, { type }));
              const [clientX, clientY] = [window.innerWidth / 2, window.innerHeight / 2];
              const init = { clientX, clientY, dataTransfer: dropped, bubbles: true, cancelable: true };
              const place = document.elementFromPoint(clientX, clientY);
              for (const event of ["dragover", "drop"]) place.dispatchEvent(new DragEvent(event, init));
            }
        """
        self.tab.evaluate(script, [name, mimetypes.guess_type(name)[0], base64.b64encode(content).decode()])
