// A picture, plus epsilon times the sign of its gradient; the answers were computed beforehand.
"use strict";
(() => {
  const box = document.getElementById("fgsm");

  function pixels(uri) {
    const image = new Image();
    return new Promise((done) => {
      image.onload = () => {
        const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        done(context.getImageData(0, 0, image.width, image.height));
      };
      image.src = uri;
    });
  }

  function show(canvas, from, value) {
    const data = new ImageData(from.width, from.height);
    for (let i = 0; i < data.data.length; i++) data.data[i] = i % 4 === 3 ? 255 : value(i);
    Object.assign(canvas, { width: from.width, height: from.height });
    canvas.getContext("2d").putImageData(data, 0, 0);
  }

  async function start(part) {
    const { image, sign, answers } = window.attacked[part.dataset.picture];
    const [before, change] = await Promise.all([pixels(image), pixels(sign)]);
    const slider = part.querySelector("input");
    slider.max = answers.length - 1;
    const [left, middle, right] = part.querySelectorAll("canvas");
    show(left, before, (i) => before.data[i]);
    show(middle, change, (i) => change.data[i]);
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    const draw = () => {
      const answer = answers[slider.value];
      // The sign is stored as 0, 128 and 255; the canvas clips to 0..255 as the attack does.
      show(right, before, (i) => before.data[i] + answer.epsilon * Math.sign(Math.round((change.data[i] - 127.5) / 127)));
      part.querySelector("output").textContent = `${answer.epsilon} of 255`;
      part.querySelector("[data-answer]").textContent = `“${answer.class}”, ${percent(answer.confidence)}`;
      part.querySelector("[data-first]").textContent = `“${answers[0].class}” has ${percent(answer.first)}`;
      part.dataset.drawn = slider.value;
    };
    slider.addEventListener("input", draw);
    draw();
  }

  box.querySelectorAll("[data-picture]").forEach(start);
})();
