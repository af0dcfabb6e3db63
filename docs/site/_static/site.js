// Curves of a record, drawn by Vega-Lite, and tables that sort by a click on a heading.
"use strict";
(() => {

const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888"];
const LATE = document.currentScript.src.replace("site.js", "vega.js");

// {arm: [[[x, y], ...] by seed]} -> rows, for the arms that are shown.
function rowsOf(seedsByArm, shown) {
  return Object.entries(seedsByArm)
    .filter(([arm]) => shown.has(arm))
    .flatMap(([arm, seeds]) =>
      seeds.flatMap((points, seed) => points.map(([x, y]) => ({ arm, seed, x, y }))))
    .filter((row) => row.y !== null);
}

function specOf(rows, name, label, arms, marked, log) {
  const scale = (axis) => (log[axis] ? { type: "log" } : { zero: false });
  const fits = (row) => (!log.x || row.x > 0) && (!log.y || row.y > 0);
  const x = { field: "x", type: "quantitative", title: label, scale: scale("x") };
  const y = { field: "y", type: "quantitative", title: name, scale: scale("y") };
  const color = {
    field: "arm", type: "nominal", title: null, legend: { orient: "bottom", columns: 3, labelLimit: 400 },
    scale: { domain: arms, range: arms.map((_, i) => COLORS[i % COLORS.length]) },
  };
  // With more arms than colors the next ones are dashed.
  const strokeDash = {
    field: "arm", type: "nominal", title: null,
    scale: { domain: arms, range: arms.map((_, i) => (i < COLORS.length ? [1, 0] : [6, 4])) },
  };
  const seeds = {
    params: [{ name: "near", select: { type: "point", on: "pointerover", clear: "pointerout", fields: ["arm", "seed"] } }],
    mark: { type: "line", strokeWidth: 2 },
    encoding: {
      x, y, color, strokeDash, detail: { field: "seed" },
      opacity: { condition: { param: "near", value: 0.9, empty: false }, value: 0.18 },
      tooltip: [{ field: "arm" }, { field: "seed" }, { field: "x" }, { field: "y", format: ".4g" }],
    },
  };
  const means = { mark: { type: "line", strokeWidth: 3 }, encoding: { x, y: { ...y, aggregate: "mean" }, color, strokeDash } };
  const layers = [seeds, means];
  if (marked.length) {
    layers.push({
      data: { values: marked.filter(fits) }, mark: { type: "point", filled: true, size: 90, shape: "diamond" },
      encoding: { x, y, color: { value: "#777" }, tooltip: [{ field: "source" }, { field: "y", title: "value" }] },
    });
  }
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json", data: { values: rows.filter(fits) },
    width: "container", height: 340, layer: layers, background: null,
    config: {
      axis: { labelColor: "currentColor", titleColor: "currentColor", gridOpacity: 0.25, labelFontSize: 13, titleFontSize: 14 },
      legend: { labelColor: "currentColor", labelFontSize: 13, symbolStrokeWidth: 4 }, view: { stroke: null },
    },
  };
}

function choice(kind, group, text, checked, change) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: kind, name: group, checked });
  input.addEventListener("change", change);
  label.append(input, ` ${text}`);
  return [label, input];
}

let charts = 0;

function curves(box) {
  const series = JSON.parse(box.querySelector("script").textContent);
  const names = Object.keys(series);
  const group = `curves${charts++}`;
  const drawn = Object.assign(document.createElement("div"), { className: "drawn" });
  const inputs = { series: {}, arms: {}, log: {} };
  const arms = [...new Set(names.flatMap((name) => Object.keys(series[name].arms)))];

  let view = null;

  function draw() {
    const name = names.find((one) => inputs.series[one].checked);
    const own = Object.keys(series[name].arms);
    const on = new Set(own.filter((arm) => inputs.arms[arm].checked));
    for (const arm of arms) inputs.arms[arm].parentElement.hidden = !own.includes(arm);
    const log = { x: inputs.log.x.checked, y: inputs.log.y.checked };
    const { x, points } = series[name];
    const spec = specOf(rowsOf(series[name].arms, on), name, x, arms, points, log);
    vegaEmbed(drawn, spec, { actions: false, renderer: "svg" }).then((embedded) => {
      view?.finalize(); // or it would go on listening
      view = embedded;
      drawn.querySelector("svg").setAttribute("aria-label", `${name} of ${[...on].join(", ")}`);
      box.dataset.drawn = `${name}: ${[...on].join(", ")}`;
    });
  }

  const fieldset = (legend, kind, list, part, checked) => {
    const set = document.createElement("fieldset");
    set.append(Object.assign(document.createElement("legend"), { textContent: legend }));
    list.forEach(([key, text], i) => {
      const [label, input] = choice(kind, group + part, text, checked(i), draw);
      inputs[part][key] = input;
      set.append(label);
    });
    return set;
  };
  const same = (list) => list.map((one) => [one, one]);
  if (names.length > 1) box.append(fieldset("Series", "radio", same(names), "series", (i) => i === 0));
  else fieldset("", "radio", same(names), "series", () => true);
  box.append(fieldset("Arms", "checkbox", same(arms), "arms", () => true), drawn,
    fieldset("Logarithmic", "checkbox", [["x", "horizontal axis"], ["y", "vertical axis"]], "log", () => false));
  draw();
}

function sortable(table) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = Object.assign(document.createElement("button"), { textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending" ? -1 : 1;
      table.querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
      head.ariaSort = down > 0 ? "ascending" : "descending";
      const key = (row) => {
        const number = row.cells[column].querySelector("[data-value]");
        return number ? Number(number.dataset.value) : row.cells[column].textContent;
      };
      const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
      body.append(...[...body.rows].sort((a, b) => down * compare(key(a), key(b))));
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
const boxes = [...document.querySelectorAll(".curves")];
if (boxes.length) {
  // Vega is large; pages without curves do without, and a tab's curves are drawn when it is seen.
  const script = Object.assign(document.createElement("script"), { src: LATE });
  script.addEventListener("load", () => {
    const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
      if (!entry.isIntersecting) return;
      seen.unobserve(entry.target);
      curves(entry.target);
    }));
    boxes.forEach((box) => seen.observe(box));
  });
  document.head.append(script);
}
})();
