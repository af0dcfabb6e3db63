// Four logits and the probabilities that softmax makes of them.
"use strict";
(() => {
  const box = document.getElementById("softmax");
  const svg = box.querySelector("svg");
  play.sliders(box, (values) => {
    const z = [values.z1, values.z2, values.z3, values.z4];
    const largest = Math.max(...z);
    const powers = z.map((one) => Math.exp(one - largest));
    const total = powers.reduce((a, b) => a + b);
    const p = powers.map((one) => one / total);
    svg.replaceChildren();
    svg.setAttribute("viewBox", "0 0 400 220");
    p.forEach((one, i) => {
      const [x, height] = [30 + 95 * i, 160 * one];
      play.element("rect", { x, y: 185 - height, width: 60, height, fill: play.COLORS[i] }, svg);
      const text = { x: x + 30, "text-anchor": "middle", fill: "currentColor", "font-size": 15 };
      play.element("text", { ...text, y: 178 - height, class: "p" }, svg, one.toFixed(3));
      play.element("text", { ...text, y: 206 }, svg, `z = ${z[i]}`);
    });
    svg.setAttribute("aria-label", `Probabilities ${p.map((one) => one.toFixed(3)).join(", ")}`);
  });
})();
