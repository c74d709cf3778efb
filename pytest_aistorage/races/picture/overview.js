// The whole run: what is in the window is drawn from the data, as many pieces as there are pixels at most.
const KINDS = ["change", "failed", "unknown"], READ = 4, LETTER = 6.1;
const milliseconds = (time) => `${(time / 1e6).toFixed(3)} ms`;

const overview = (figure, data) => {
  const svg = figure.querySelector("svg.overview");
  const plot = svg.querySelector("svg.plot");
  const drawn = plot.querySelector("g.drawn"), ticks = plot.querySelector("g.ticks"), faults = plot.querySelector("g.faults");
  const chosenOne = figure.querySelector(".chosen-one");
  const search = figure.querySelector("input");
  const width = Number(plot.getAttribute("width"));
  const top = Number(svg.dataset.top), high = Number(svg.dataset.high), step = high + Number(svg.dataset.gap);
  const foot = top + data.processes.length * step;
  const count = data.lane.length;
  const called = new Float64Array(count), until = new Float64Array(count);
  const byLane = data.processes.map(() => []);
  let time = 0;
  for (let i = 0; i < count; i += 1) {
    time += data.called[i];
    called[i] = time;
    until[i] = time + Math.max(0, data.took[i]);
    byLane[data.lane[i]].push(i);
  }
  // What never returned is drawn until its client did something else.
  for (const lane of byLane) {
    lane.forEach((i, place) => {
      if (data.took[i] < 0) until[i] = place + 1 < lane.length ? called[lane[place + 1]] : data.end;
    });
  }
  // In a lane the calls rise, but what never returned may lie under others: ends are searched as their maximum so far.
  const latest = byLane.map((lane) => {
    let last = 0;
    return lane.map((i) => (last = Math.max(last, until[i])));
  });
  const marked = new Map();
  data.violations.forEach((places, number) => places.forEach((i) => marked.set(i, number + 1)));
  let chosen = -1, wanted = "", fits = null;

  const element = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  // The first place in an ascending list that isn't less than a limit.
  const first = (list, limit, value = (one) => one) => {
    let low = 0, end = list.length;
    while (low < end) {
      const middle = (low + end) >> 1;
      if (value(list[middle]) < limit) low = middle + 1; else end = middle;
    }
    return low;
  };
  const inside = (lane, from, to) => [first(latest[lane], from), first(byLane[lane], to, (i) => called[i])];
  const kindOf = (i) =>
    data.took[i] < 0 ? "pending" : data.code[i] === READ ? "read" : KINDS[data.code[i] & 3];

  const draw = (from, to) => {
    const at = (moment) => (moment - from) / (to - from) * width;
    const pieces = {};
    const add = (kind, left, right, y, height) => {
      (pieces[kind] ??= []).push(`M${left.toFixed(1)} ${y}h${(right - left).toFixed(1)}v${height}h${(left - right).toFixed(1)}z`);
    };
    const words = [];
    byLane.forEach((lane, number) => {
      const y = top + number * step;
      const last = {};
      const [begin, end] = inside(number, from, to);
      for (let place = begin; place < end; place += 1) {
        const i = lane[place];
        const left = Math.max(-4, at(called[i]));
        const kind = kindOf(i);
        const right = Math.min(width + 4, Math.max(left + (kind === "change" || kind === "read" ? 1 : 2), at(until[i])));
        if (right < -2) continue;
        const key = fits && !fits[data.model[i]] ? `${kind} other` : kind;
        const before = last[key];
        const wide = right - left > 6; // with a gap before it, so that it can be told from its neighbour
        if (before && left <= before[1] + 0.5 && !wide) before[1] = Math.max(before[1], right);
        else {
          if (before) add(key, ...before, y, high);
          last[key] = [wide ? left + 0.8 : left, right];
        }
        if (high > 8 && right - left > 34 && words.length < 400 && !key.endsWith("other")) {
          const previous = words.at(-1);
          if (previous && previous[3] === y) previous[2] = Math.min(previous[2], left); // others' clients may do two things
          words.push([i, left, right, y]);
        }
        if (marked.has(i)) {
          add("marked", left - 1, right + 1, y - 1, high + 2);
          (pieces.flag ??= []).push(`M${((left + right) / 2 - 4).toFixed(1)} ${top - 9}h8l-4 7z`);
        }
        if (i === chosen) add("chosen", left - 2, right + 2, y - 2, high + 4);
      }
      for (const [key, piece] of Object.entries(last)) add(key, ...piece, y, high);
    });
    const order = ["read", "change", "pending", "failed", "unknown"];
    drawn.replaceChildren(
      ...[...order.map((kind) => `${kind} other`), ...order, "marked", "flag", "chosen"].filter((kind) => pieces[kind]).map((kind) => element("path", { class: kind, d: pieces[kind].join("") })),
      ...words.map(([i, left, right, y]) => {
        const begin = Math.max(left, 0) + 4;
        const room = Math.floor((Math.min(right, width) - begin - 3) / LETTER);
        const label = `#${data.number[i]} ${data.label[i]}`;
        const text = room < 3 ? "" : label.length <= room ? label : `${label.slice(0, room - 1)}…`;
        return element("text", { class: ["read", "pending"].includes(kindOf(i)) ? "inside on-read" : "inside", x: begin, y: y + high / 2 + 3.5 }, text);
      }),
    );
    faults.replaceChildren(...data.faults.map(([said, begin, end], number) => {
      const group = element("g", { class: "fault" });
      const left = at(begin);
      if (end !== null) group.append(element("rect", { class: "span", x: left, y: 0, width: Math.max(1, at(end) - left), height: foot }));
      group.append(element("path", { class: "moment", d: `M${left} 0V${foot}` }));
      const line = faultLines[number];
      const place = left < 0 && end !== null && at(end) > 0 ? 2 : Math.min(left + 4, left < width ? width - said.length * 6.9 : Infinity);
      group.append(element("text", { class: "said", x: place, y: line }, said));
      return group;
    }));
    ticks.replaceChildren(...[0, 1, 2, 3, 4, 5, 6].map((part) => {
      const x = width * part / 6;
      const group = element("g", { class: "tick" });
      group.append(
        element("path", { d: `M${x} 0V${foot + 4}` }),
        element("text", { x, y: foot + 16, "text-anchor": part === 0 ? "start" : part === 6 ? "end" : "middle" },
          milliseconds(from + (to - from) * part / 6)),
      );
      return group;
    }));
  };
  const faultLines = [...faults.querySelectorAll("text")].map((text) => Number(text.getAttribute("y")));

  const details = (i) => [
    `#${data.number[i]} P${data.processes[data.lane[i]]}: ${data.label[i]}`,
    ...(data.models[data.model[i]] ? [`model ${data.models[data.model[i]]}`] : []),
    `called at ${milliseconds(called[i])}, ${data.took[i] < 0 ? "never returned" : `took ${milliseconds(data.took[i])}`}`,
    `outcome ${["ok", "failed", "unknown"][data.code[i] & 3]}${marked.has(i) ? `; belongs to violation ${marked.get(i)}` : ""}`,
  ].join("\n");
  const say = (from, to) => `${milliseconds(from)} to ${milliseconds(to)}`;
  const last = Math.max(data.end, data.begin + 1);
  const view = zooming(figure, svg, data.begin, last, Math.min(last - data.begin, 1000), draw, say);

  // What lies within two pixels of a place; the marked first, then the nearest.
  const under = ({ x, y }) => {
    const lane = Math.floor((y - top) / step);
    if (!(lane >= 0 && lane < byLane.length) || x < 0 || x > width) return [];
    const [from, to] = view.window();
    const moment = view.at(x), slack = 2 * (to - from) / width;
    const [begin, end] = inside(lane, moment - slack, moment + slack);
    const found = [];
    for (let place = begin; place < end; place += 1) {
      const i = byLane[lane][place];
      if (until[i] >= moment - slack) found.push(i);
    }
    const far = (i) => Math.max(0, called[i] - moment, moment - until[i]);
    return found.sort((one, other) => marked.has(other) - marked.has(one) || far(one) - far(other));
  };
  const choose = (i, keep) => {
    chosen = i;
    chosenOne.textContent = i < 0 ? "" : details(i);
    if (i >= 0 && !keep) {
      const [from, to] = view.window();
      if (called[i] < from || until[i] > to) {
        const span = Math.max(to - from, (until[i] - called[i]) * 1.2);
        view.show((called[i] + until[i] - span) / 2, (called[i] + until[i] + span) / 2);
      }
    }
    view.redraw();
  };
  svg.addEventListener("pointermove", (event) => {
    if (view.dragging()) return;
    const found = under(view.place(event));
    const more = found.length > 1 ? `\nand ${found.length - 1} more here: zoom in` : "";
    showTip(found.length ? details(found[0]) + more : "", event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", () => showTip(""));
  svg.addEventListener("click", (event) => {
    const found = view.dragged() ? [] : under(view.place(event));
    if (found.length) choose(found[0], true);
  });
  svg.setAttribute("tabindex", "0");
  figure.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { n: [1, 0], p: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    const move = moves[event.key];
    if (event.key === "Enter" && event.target === svg && chosen >= 0) {
      const span = Math.max(1000, (until[chosen] - called[chosen]) * 4);
      view.show(called[chosen] - span / 3, called[chosen] + span * 2 / 3);
    }
    if (!move) return;
    event.preventDefault();
    const [from] = view.window();
    const here = chosen < 0 ? from : called[chosen];
    let lane = chosen < 0 ? 0 : data.lane[chosen] + move[1];
    while (move[1] && lane >= 0 && lane < byLane.length && !byLane[lane].length) lane += move[1];
    if (!byLane[lane]?.length) return;
    let place = first(byLane[lane], here, (i) => called[i]);
    if (chosen >= 0 && move[0]) place = byLane[lane].indexOf(chosen) + move[0];
    choose(byLane[lane][Math.max(0, Math.min(byLane[lane].length - 1, place))]);
  });
  search.addEventListener("input", () => {
    wanted = search.value.trim();
    fits = wanted ? data.models.map((name) => name.includes(wanted)) : null;
    view.redraw();
  });
  chosenOne.hidden = false;
  view.redraw();
  for (const button of document.querySelectorAll("button[data-violation]")) {
    const places = data.violations[Number(button.dataset.violation)] ?? [];
    if (!places.length) continue;
    button.hidden = false;
    button.addEventListener("click", () => {
      const begin = Math.min(...places.map((i) => called[i])), end = Math.max(...places.map((i) => until[i]));
      const span = Math.max(1000, end - begin);
      view.show(begin - span * 0.15, end + span * 0.15);
      choose(places[places.length - 1], true);
      figure.scrollIntoView({ behavior: "smooth", block: "center" });
      svg.focus({ preventScroll: true });
    });
  }
};
