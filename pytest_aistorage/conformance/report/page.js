"use strict";
// Filters the table of tests by status and by name. Without scripts the whole table is there.
(() => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const groups = [...document.querySelectorAll("table.tests tbody")];
  const rows = groups.flatMap((group) => [...group.querySelectorAll("tr[data-status]")]);
  const buttons = [...form.querySelectorAll("button")];
  const search = form.querySelector("input");
  const output = form.querySelector("output");
  const show = () => {
    const wanted = buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.status);
    const text = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const statuses = row.dataset.status.split(" ");
      const fits = (!wanted.length || wanted.some((status) => statuses.includes(status)))
        && row.textContent.toLowerCase().includes(text);
      row.hidden = !fits;
      shown += fits;
    }
    for (const group of groups) group.hidden = !group.querySelector("tr[data-status]:not([hidden])");
    output.textContent = `${shown} of ${rows.length} tests`;
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      show();
    });
  }
  search.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();
