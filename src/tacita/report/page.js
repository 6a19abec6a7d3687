"use strict";
// Counts what goes wrong, so that a test (or a reader) can see it: data-errors on the body.
const fail = (message) => {
  const seen = document.body.dataset;
  seen.errors = (seen.errors ? seen.errors + " | " : "") + message;
};
window.addEventListener("error", (event) => fail(event.message));
window.addEventListener("unhandledrejection", (event) => fail(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) =>
  fail(event.violatedDirective + " " + event.blockedURI));

const { figures: specs, operating } = JSON.parse(document.getElementById("drawn").textContent);
const darkScheme = window.matchMedia("(prefers-color-scheme: dark)");
const coarse = window.matchMedia("(pointer: coarse)").matches;

// A colour "--name" becomes the value of that variable; other text is left alone.
function coloured(node, style, isColour) {
  if (Array.isArray(node)) return node.map((item) => coloured(item, style, isColour));
  if (node && typeof node === "object") {
    return Object.fromEntries(Object.entries(node).map(([key, item]) =>
      [key, coloured(item, style, /color(scale)?$/.test(key))]));
  }
  return isColour && typeof node === "string" && node.startsWith("--")
    ? style.getPropertyValue(node).trim() : node;
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  let drawn = 0;
  for (const [key, spec] of Object.entries(specs)) {
    const { data, layout } = coloured(spec, style, false);
    const isMap = key === "map";
    // On a touch screen a finger on the map must still scroll the page.
    if (isMap && coarse) layout.dragmode = false;
    const box = document.getElementById("figure-" + key);
    layout.height = box.clientHeight;
    Plotly.react(box, data, layout, {
      displaylogo: false,
      displayModeBar: false,
      scrollZoom: false,
    });
    drawn += 1;
  }
  document.body.dataset.figures = drawn;
  readOut();
}

// The map is moved by buttons, which a keyboard reaches as well as a finger.
const shares = { in: [0, 0, 0.7], out: [0, 0, 1 / 0.7], left: [-0.2, 0, 1], right: [0.2, 0, 1],
  up: [0, 0.2, 1], down: [0, -0.2, 1] };
for (const button of document.querySelectorAll("button[data-map]")) {
  button.addEventListener("click", () => {
    const box = document.getElementById("figure-map"), move = shares[button.dataset.map];
    if (!move) {
      Plotly.relayout(box, { "xaxis.autorange": true, "yaxis.autorange": true });
      return;
    }
    const moved = (axis, by) => {
      const [low, high] = box._fullLayout[axis].range;
      const half = (high - low) / 2, middle = (low + high) / 2 + by * (high - low);
      return [middle - half * move[2], middle + half * move[2]];
    };
    Plotly.relayout(box, { "xaxis.range": moved("xaxis", move[0]),
      "yaxis.range": moved("yaxis", move[1]) });
  });
}

// What comes of a threshold: of the class that is chosen, in words and as a mark on both curves.
function readOut() {
  const panel = document.getElementById("readout");
  if (!panel) return;
  panel.hidden = false;
  const curve = operating[document.getElementById("threshold-class").value];
  const at = Number(document.getElementById("threshold").value);
  // Thresholds fall: the last one that is not below the chosen one is reached.
  const place = curve.threshold.filter((value) => value >= at).length - 1;
  const found = (name) => (place < 0 ? (name === "precision" ? null : 0) : curve[name][place]);
  const recall = found("recall"), alarms = found("false_alarms"), precision = found("precision");
  const share = (value) => (value === null ? "\u2013" : (100 * value).toFixed(1) + "%");
  const right = recall * curve.positives, wrong = alarms * curve.negatives;
  const f1 = 2 * right / (curve.positives + right + wrong);
  document.getElementById("threshold-value").textContent = at.toFixed(2);
  document.getElementById("threshold-said").textContent =
    `Recall ${share(recall)}, precision ${share(precision)}, false alarms ${share(alarms)}, ` +
    `F1 ${share(f1)}: ${Math.round(right)} of ${curve.positives} found, ` +
    `${Math.round(wrong)} of ${curve.negatives} others taken too.`;
  const mark = (key, x, y) => {
    const box = document.getElementById("figure-" + key);
    if (box && box.data) Plotly.restyle(box, { x: [[x]], y: [[y]] }, [box.data.length - 1]);
  };
  mark("roc", alarms, recall);
  mark("precision", recall, precision);
}
draw();
for (const id of ["threshold", "threshold-class"]) {
  document.getElementById(id)?.addEventListener("input", readOut);
}
// Boxes change width with the window, and when a page is opened in a hidden tab or printed.
const fit = new ResizeObserver((entries) => {
  for (const { target } of entries) if (target.clientWidth) Plotly.Plots.resize(target);
});
for (const key of Object.keys(specs)) fit.observe(document.getElementById("figure-" + key));
darkScheme.addEventListener("change", draw);

// Paper is white: figures are drawn anew in light colours, and back again afterwards.
const onPaper = (printing) => () => {
  document.documentElement.classList.toggle("paper", printing);
  draw();
};
window.addEventListener("beforeprint", onPaper(true));
window.addEventListener("afterprint", onPaper(false));

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select the text and copy it";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
