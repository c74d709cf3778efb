// Without scripts the pictures, tables and texts are there all the same.
for (const figure of document.querySelectorAll("figure.counterexample")) lanes(figure);
const run = document.querySelector("figure.run");
if (run) overview(run, JSON.parse(document.getElementById("data").textContent));
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
