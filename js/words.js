/**
 * The texts of the page script: English texts by key. Other languages are in locales/<language>/main.json, which the
 * host reads.
 */

const ENGLISH = {
  previous: "Previous drawing",
  next: "Next drawing",
  smaller: "Zoom out",
  larger: "Zoom in (or Ctrl + mouse wheel)",
  copy: "Copy",
  copyTip: "Copy the SVG",
  copied: "Copied",
  notCopied: "Could not copy",
  save: "Save",
  saveTip: "Download the SVG",
  drawing: "Drawing {file}",
  gone: "{file} no longer exists. Queue the workflow again.",
  goneInput: "{file} is not in the input folder any more. Choose another file.",
  noAnswer: "The server does not answer.",
  size: "{size} kB",
  which: "{number} of {count}, {size} kB",
  step: "{method}, step {step} of {steps}",
  used: "Used: {settings}",
  objective: "objective",
  gradient: "gradient ‖G‖",
  time: "noise t",
  loss: "loss",
  objectiveName: "Objective",
  gradientName: "Gradient norm",
  timeName: "Noise level",
  lossName: "Loss",
  objectiveTip: "Objective: half of ‖G‖ squared. It jumps with the noise; watch its trend. Logarithmic scale.",
  gradientTip: "‖G‖: length of the gradient, or how strongly a step pulls on the result. Logarithmic scale.",
  timeTip: "t: noise level that the step visits. 0 is a clean image, 1 pure noise.",
  lossTip: "Loss of the training in each step. Logarithmic scale.",
  curve: "{name} per step, last value {last}",
  paperDefault: "paper default",
  addRegion: "+ region",
  addRegionTip: "Add a region, up to {most}",
  removeRegion: "− region",
  removeRegionTip: "Remove the last region",
};

/** The text for a key in the user's language, or in English if it is not translated. `values` replace its {names}. */
export function say(key, values = {}) {
  const page = document.querySelector("#vue-app")?.__vue_app__?.config.globalProperties;
  const known = `dreamsampler.${key}`;
  if (page?.$te?.(known)) return page.$t(known, values);
  return ENGLISH[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
