// Dark or light, as the reader has chosen; before the first paint.
const chosen = localStorage.getItem("trackyard-theme");
if (chosen) document.documentElement.dataset.theme = chosen;
