// What the pages to play with share: labeled sliders, and curves in an SVG.
"use strict";
window.play = (() => {
  const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"];
  const SVG = "http://www.w3.org/2000/svg";

  function element(name, attributes = {}, parent = null, text = "") {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  // Calls change() with the numbers of all sliders within a box, at once and after every input.
  function sliders(box, change) {
    const inputs = [...box.querySelectorAll("input, select")];
    const read = () => Object.fromEntries(inputs.map((one) => [one.name,
      one.tagName === "SELECT" ? one.value : one.type === "checkbox" ? one.checked : Number(one.value)]));
    const update = () => {
      for (const input of inputs) {
        const shown = box.querySelector(`output[for="${input.id}"]`);
        if (shown) shown.textContent = String(Number(Number(input.value).toPrecision(3)));
      }
      change(read());
    };
    inputs.forEach((input) => input.addEventListener("input", update));
    update();
    return { set: (values) => {
      for (const input of inputs) if (input.name in values) input.value = values[input.name];
      update();
    } };
  }

  // Draws lines [{name, points: [[x, y], ...]}] into an SVG of 400 x 260; `log` for a logarithmic y.
  function lines(svg, series, { x: [left, right], y: [low, high], title, xlabel, log = false }) {
    svg.replaceChildren();
    svg.setAttribute("viewBox", "0 0 400 260");
    const scale = (value) => (log ? Math.log10(Math.max(value, 1e-300)) : value);
    const [bottom, top] = [scale(low), scale(high)];
    const px = (value) => 55 + (330 * (value - left)) / (right - left);
    const py = (value) => 220 - (185 * Math.min(Math.max((scale(value) - bottom) / (top - bottom), 0), 1));
    const label = { fill: "currentColor", "font-size": 12 };
    element("text", { ...label, x: 55, y: 18, "font-size": 14, "font-weight": "bold" }, svg, title);
    element("text", { ...label, x: 220, y: 254, "text-anchor": "middle" }, svg, xlabel);
    for (let i = 0; i <= 4; i++) {
      const value = log ? 10 ** (bottom + (i / 4) * (top - bottom)) : low + (i / 4) * (high - low);
      const text = log ? value.toExponential(0) : String(Number(value.toPrecision(3)));
      element("line", { x1: 55, x2: 385, y1: py(value), y2: py(value), stroke: "currentColor", "stroke-opacity": 0.15 }, svg);
      element("text", { ...label, x: 50, y: py(value) + 4, "text-anchor": "end" }, svg, text);
      const at = left + (i / 4) * (right - left);
      element("text", { ...label, x: px(at), y: 236, "text-anchor": "middle" }, svg, String(Number(at.toPrecision(3))));
    }
    series.forEach(({ name, points }, i) => {
      const drawn = points.filter(([, y]) => Number.isFinite(y)).map(([x, y]) => `${px(x).toFixed(2)},${py(y).toFixed(2)}`);
      element("polyline", { points: drawn.join(" "), fill: "none", stroke: COLORS[i], "stroke-width": 3, "data-name": name }, svg);
      element("text", { ...label, x: 380, y: 36 + 15 * i, "text-anchor": "end", style: `fill: ${COLORS[i]}` }, svg, name);
    });
    svg.setAttribute("aria-label", `${title}: ${series.map((one) => one.name).join(", ")}`);
  }

  return { COLORS, element, sliders, lines };
})();
