// The timeline of a counterexample: everything in it has its place in data-l, data-r and data-t, and is moved there.
const linkPath = (begin, above, end, below) => {
  if (above === below) return `M${begin} ${above}H${end - 1}m-5 -4l5 4l-5 4`;
  const head = below > above ? -5 : 5;
  const middle = (above + below) / 2;
  return `M${begin} ${above}C${begin} ${middle} ${end} ${middle} ${end} ${below}m-3.5 ${head}l3.5 ${-head}l3.5 ${head}`;
};

const lanes = (figure) => {
  const svg = figure.querySelector("svg.lanes");
  const plot = svg.querySelector("svg.plot");
  const width = Number(plot.getAttribute("width"));
  const moved = [...plot.querySelectorAll("[data-l]")].map((element) => ({
    element,
    left: Number(element.dataset.l),
    right: Number(element.dataset.r ?? element.dataset.l),
    label: Number(element.dataset.t ?? element.dataset.l),
    text: element.querySelector("text"),
    path: element.tagName === "path" ? element : element.querySelector("path"),
    // What ends at the plot's edge goes on.
    open: Number(element.dataset.r) >= width,
  }));
  for (const one of moved) {
    one.words = one.text ? one.text.getComputedTextLength() : 0;
    one.d = one.path ? one.path.getAttribute("d") : "";
    one.rest = one.d.replace(/^M[-\d.]+/, "");
    one.height = one.element.dataset.y?.split(" ").map(Number);
  }
  // What stands behind a label in its line, and limits how far it may follow its bar.
  const labels = moved.filter((one) => one.words && one.element.classList[0] !== "tick");
  for (const one of labels) {
    const line = one.text.getAttribute("y");
    const behind = labels.filter((other) => other.text.getAttribute("y") === line && other.label > one.label);
    one.limit = Math.min(Infinity, ...behind.map((other) => other.label));
  }
  const draw = (from, to) => {
    const at = (x) => (x - from) / (to - from) * width;
    for (const { element, left, right, label, text, path, rest, open, words, limit, height } of moved) {
      const begin = at(left), end = open ? width + 40 : at(right);
      const kind = element.classList[0];
      if (kind === "link") {
        path.setAttribute("d", linkPath(begin, height[0], end, height[1]));
      } else if (kind === "operation" || kind === "fault") {
        const rect = element.querySelector("rect");
        rect?.setAttribute("x", begin);
        rect?.setAttribute("width", Math.max(1, end - begin));
        // A label stays in sight as long as its bar is.
        const pad = kind === "operation" ? 5 : 0;
        let place = at(label) + pad;
        if (place < 4 && end > 4) place = Math.max(place, Math.min(4, at(limit) - words - 4));
        text.setAttribute("x", place);
        if (path) path.setAttribute("d", kind === "fault" ? `M${begin}${rest}` : `M${end}${rest}`);
      } else {
        path.setAttribute("d", `M${begin + (kind === "lead" ? 0.5 : 0)}${rest}`);
        text?.setAttribute("x", begin);
      }
    }
  };
  const view = zooming(figure, svg, 0, width, width / 200, draw, (from, to) =>
    to - from >= width ? "" : `${(width / (to - from)).toFixed(1)} ×`);
  for (const operation of plot.querySelectorAll("g.operation")) {
    const title = operation.querySelector("title");
    const text = title.textContent;
    operation.setAttribute("aria-label", text);
    title.remove(); // it would be shown beside ours
    operation.addEventListener("pointermove", (event) => {
      if (!view.dragging()) showTip(text, event.clientX, event.clientY);
    });
    operation.addEventListener("pointerleave", () => showTip(""));
    operation.addEventListener("focus", () => {
      const box = operation.querySelector("rect").getBoundingClientRect();
      if (operation.matches(":focus-visible")) showTip(text, box.left, box.bottom - 8);
    });
    operation.addEventListener("blur", () => showTip(""));
  }
};
