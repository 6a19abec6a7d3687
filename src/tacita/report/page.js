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

const specs = JSON.parse(document.getElementById("figures").textContent);
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
      displayModeBar: isMap,
      scrollZoom: false,
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d"]],
    });
    drawn += 1;
  }
  document.body.dataset.figures = drawn;
}
draw();
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
