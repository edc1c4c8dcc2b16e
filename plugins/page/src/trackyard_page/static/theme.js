// Dark or light before the first paint: as the reader has chosen, else as the system has it.
const system = matchMedia("(prefers-color-scheme: dark)");
function applyTheme() {
  document.documentElement.dataset.theme = localStorage.getItem("trackyard-theme") ?? (system.matches ? "dark" : "light");
  document.dispatchEvent(new Event("theme"));
}
system.addEventListener("change", applyTheme);
applyTheme();
