// A signal on its way through many layers of 100 units, before any training.
"use strict";
(() => {
  const UNITS = 100, EXAMPLES = 40;
  const box = document.getElementById("depth");
  const ACTIVATIONS = { sigmoid: (z) => 1 / (1 + Math.exp(-z)), tanh: Math.tanh, ReLU: (z) => Math.max(0, z) };
  const STDDEVS = { constant: 0, small: 0.01, Xavier: Math.sqrt(1 / UNITS), He: Math.sqrt(2 / UNITS) };

  // mulberry32, and normal numbers by Box and Muller: the same at every call.
  function normals(seed) {
    const uniform = () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  }

  function normalized(z) {
    for (let j = 0; j < UNITS; j++) {
      const mean = z.reduce((sum, row) => sum + row[j], 0) / EXAMPLES;
      const variance = z.reduce((sum, row) => sum + (row[j] - mean) ** 2, 0) / EXAMPLES;
      for (const row of z) row[j] = (row[j] - mean) / Math.sqrt(variance + 1e-3);
    }
    return z;
  }

  // Of each layer the standard deviation over examples, root mean square over its units.
  function spreads({ layers, init, activation, bn }) {
    const draw = normals(1), found = [], f = ACTIVATIONS[activation];
    let x = Array.from({ length: EXAMPLES }, () => Array.from({ length: UNITS }, draw));
    for (let layer = 1; layer <= layers; layer++) {
      const w = Array.from({ length: UNITS }, () => Array.from({ length: UNITS },
        () => (init === "constant" ? 0.01 : STDDEVS[init] * draw())));
      let z = x.map((row) => w.map((weights) => weights.reduce((sum, one, i) => sum + one * row[i], 0)));
      if (bn) z = normalized(z);
      x = z.map((row) => row.map(f));
      let total = 0;
      for (let j = 0; j < UNITS; j++) {
        const mean = x.reduce((sum, row) => sum + row[j], 0) / EXAMPLES;
        total += x.reduce((sum, row) => sum + (row[j] - mean) ** 2, 0) / EXAMPLES;
      }
      found.push([layer, Math.sqrt(total / UNITS)]);
    }
    return found;
  }

  play.sliders(box, (values) => {
    const points = spreads(values);
    play.lines(box.querySelector("svg"), [{ name: `${values.init}, ${values.activation}`, points }],
      { x: [0, 4 * Math.ceil(values.layers / 4)], y: [1e-12, 1], title: "Standard deviation over examples", xlabel: "layer", log: true });
    box.querySelector("[data-last]").textContent = points[points.length - 1][1].toExponential(3);
  });
})();
