// Gradient descent with momentum on the ravine (x^2 + h y^2) / 2 from (10, 1).
"use strict";
(() => {
  const STEPS = 100, START = [10, 1];
  const box = document.getElementById("ravine");

  // Places after each step: v <- momentum v - rate gradient, place <- place + v.
  function path({ h, rate, momentum }) {
    let [x, y] = START, [u, v] = [0, 0];
    const places = [[x, y]];
    for (let step = 0; step < STEPS; step++) {
      u = momentum * u - rate * x;
      v = momentum * v - rate * h * y;
      places.push([x += u, y += v]);
    }
    return places;
  }

  play.sliders(box, (values) => {
    const { h, momentum } = values, places = path(values), svg = box.querySelector("svg.map");
    svg.replaceChildren();
    svg.setAttribute("viewBox", "-12 -5 24 10");
    for (const level of [1, 4, 12, 30, 55]) {
      play.element("ellipse", { cx: 0, cy: 0, rx: Math.sqrt(2 * level), ry: Math.sqrt((2 * level) / h),
        fill: "none", stroke: "currentColor", "stroke-opacity": 0.35, "stroke-width": 0.05 }, svg);
    }
    const near = places.filter(([x, y]) => Math.abs(x) < 1e3 && Math.abs(y) < 1e3);
    play.element("polyline", { points: near.map(([x, y]) => `${x.toFixed(4)},${(-y).toFixed(4)}`).join(" "),
      fill: "none", stroke: play.COLORS[1], "stroke-width": 0.12 }, svg);
    near.slice(0, 40).forEach(([x, y]) => play.element("circle", { cx: x, cy: -y, r: 0.14, fill: play.COLORS[0] }, svg));
    svg.setAttribute("aria-label", "Path over the ravine's contours");
    const distances = places.map(([x, y], step) => [step, Math.hypot(x, y)]);
    play.lines(box.querySelector("svg.distance"), [{ name: "distance", points: distances }],
      { x: [0, STEPS], y: [1e-8, 1e4], title: "Distance from the minimum", xlabel: "step", log: true });
    const limit = (2 * (1 + momentum)) / h;
    box.querySelector("[data-limit]").textContent = limit.toPrecision(3);
    box.querySelector("[data-distance]").textContent = distances[STEPS][1].toExponential(3);
    box.querySelector("[data-verdict]").textContent = values.rate < limit ? "converges" : "diverges";
  });
})();
