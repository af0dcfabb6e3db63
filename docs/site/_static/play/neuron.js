// One sigmoid neuron that should answer 0 to the input 1, under two costs.
"use strict";
(() => {
  const STEPS = 300;
  const box = document.getElementById("neuron");
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  // dC/dz of (a - 0)^2 / 2, and of -log(1 - a); the input is 1, so dC/dw = dC/db = dC/dz.
  const SLOPES = { quadratic: (a) => a * a * (1 - a), "cross-entropy": (a) => a };

  function outputs(slope, { w, b, rate }) {
    const found = [];
    for (let step = 0; step <= STEPS; step++) {
      const a = sigmoid(w + b);
      found.push([step, a]);
      w -= rate * slope(a);
      b -= rate * slope(a);
    }
    return found;
  }

  let curves = [], timer = null;
  function draw(until) {
    const part = curves.map(({ name, points }) => ({ name, points: points.slice(0, until + 1) }));
    play.lines(box.querySelector("svg.output"), part,
      { x: [0, STEPS], y: [0, 1], title: "Output", xlabel: "step" });
    const cost = { quadratic: (a) => (a * a) / 2, "cross-entropy": (a) => -Math.log(1 - a) };
    const costs = part.map(({ name, points }) => ({ name, points: points.map(([x, a]) => [x, cost[name](a)]) }));
    const most = Math.max(...curves.map(({ name, points }) => cost[name](points[0][1])), 0.1);
    play.lines(box.querySelector("svg.cost"), costs,
      { x: [0, STEPS], y: [0, most], title: "Cost", xlabel: "step" });
  }

  const controls = play.sliders(box, (values) => {
    clearInterval(timer);
    curves = Object.entries(SLOPES).map(([name, slope]) => ({ name, points: outputs(slope, values) }));
    for (const { name, points } of curves) {
      box.querySelector(`[data-after="${name}"]`).textContent = points[STEPS][1].toFixed(4);
    }
    draw(STEPS);
  });
  box.querySelectorAll("button[data-start]").forEach((button) =>
    button.addEventListener("click", () => controls.set(JSON.parse(button.dataset.start))));
  box.querySelector("button.animate").addEventListener("click", () => {
    let step = 0;
    clearInterval(timer);
    timer = setInterval(() => {
      draw(step);
      if ((step += 4) > STEPS) { clearInterval(timer); draw(STEPS); }
    }, 30);
  });
})();
