// A window on a range, and the ways to move it: wheel, drag, keys and buttons. A picture says how to draw itself.
const PLOT_LEFT = 74;
const tip = document.getElementById("tip");

const showTip = (text, x, y) => {
  tip.textContent = text;
  tip.hidden = !text;
  if (!text) return;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 12) : y + 18}px`;
};

// figure: holds the picture, and gets the buttons. least: the narrowest window. draw(from, to) shows one.
const zooming = (figure, svg, low, high, least, draw, say) => {
  const plot = svg.querySelector("svg.plot");
  const width = Number(plot.getAttribute("width"));
  const tools = figure.querySelector(".tools");
  let from = low, to = high, waiting = false;
  const place = (event) => {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    return { x: (event.clientX - box.left) * scale - PLOT_LEFT, y: (event.clientY - box.top) * scale };
  };
  const at = (x) => from + (to - from) * Math.min(1, Math.max(0, x / width));
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw(from, to);
      const output = tools.querySelector("output");
      output.textContent = say(from, to);
    });
  };
  const show = (begin, end) => {
    const span = Math.min(high - low, Math.max(least, end - begin));
    const middle = (begin + end) / 2;
    from = Math.min(high - span, Math.max(low, middle - span / 2));
    to = from + span;
    redraw();
  };
  const zoom = (factor, middle = (from + to) / 2) => {
    show(middle - (middle - from) / factor, middle + (to - middle) / factor);
  };
  const pan = (part) => show(from + (to - from) * part, to + (to - from) * part);
  const all = () => show(low, high);
  const whole = () => to - from >= high - low;

  svg.addEventListener("wheel", (event) => {
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      if (whole()) return;
      event.preventDefault();
      pan((event.deltaX || event.deltaY) / 800);
      return;
    }
    if (event.deltaY > 0 && whole()) return; // nothing is left to show: the page scrolls on
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), at(place(event).x));
  }, { passive: false });

  // Dragging moves the window; with Shift it chooses one, and so it does where everything is shown already.
  let drag = null, dragged = false;
  const swept = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  swept.setAttribute("class", "swept");
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const here = place(event);
    if (here.x < 0) return;
    dragged = false;
    drag = { x: here.x, from, to, choosing: event.shiftKey || whole(), moved: false };
  });
  addEventListener("pointermove", (event) => {
    if (!drag) return;
    const here = place(event);
    if (!drag.moved && Math.abs(here.x - drag.x) < 4) return;
    if (!drag.moved) svg.classList.add("dragged");
    drag.moved = true;
    if (drag.choosing) {
      plot.append(swept);
      const x = Math.max(0, Math.min(width, here.x));
      swept.setAttribute("x", Math.min(drag.x, x));
      swept.setAttribute("width", Math.abs(x - drag.x));
      swept.setAttribute("y", 0);
      swept.setAttribute("height", plot.getAttribute("height"));
    } else {
      const shift = (here.x - drag.x) / width * (drag.to - drag.from);
      show(drag.from - shift, drag.to - shift);
    }
    showTip("");
    event.preventDefault();
  });
  addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { x, choosing, moved } = drag;
    drag = null;
    dragged = moved; // the click that follows is none
    swept.remove();
    svg.classList.remove("dragged");
    if (moved && choosing) {
      const here = place(event).x;
      show(at(Math.min(x, here)), at(Math.max(x, here)));
    }
  });
  svg.addEventListener("dblclick", (event) => zoom(event.shiftKey ? 1 / 4 : 4, at(place(event).x)));

  const keys = { "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(1 / 2), "0": all, Home: all,
    ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2) };
  figure.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  const acts = { in: () => zoom(2), out: () => zoom(1 / 2), left: () => pan(-0.4), right: () => pan(0.4), all };
  for (const button of tools.querySelectorAll("button[data-act]")) {
    button.addEventListener("click", acts[button.dataset.act]);
  }
  tools.hidden = false;
  figure.classList.add("zooming");
  return { show, place, at, redraw, dragging: () => drag !== null && drag.moved, dragged: () => dragged, window: () => [from, to] };
};
