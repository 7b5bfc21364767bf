/* The keyboard: / searches, j and k or the arrows move from link to link, Enter opens, Escape goes back. */
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  dashboard: {
    /* The search field follows the address, except while someone types in it. */
    query: (search) =>
      document.activeElement && document.activeElement.id === "search"
        ? window.dash_clientside.no_update
        : new URLSearchParams(search || "").get("q") || "",
  },
});

(() => {
  const entry = location.href;
  const STOPS = "main .tile, main a.row, main .related a, main .button";
  const writes = (element) => element && element.matches("input, textarea, select, [contenteditable]");

  function move(by) {
    const stops = [...document.querySelectorAll(STOPS)].filter((one) => one.offsetParent);
    if (!stops.length) return;
    const at = stops.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : stops.length - 1) : Math.min(Math.max(at + by, 0), stops.length - 1);
    stops[next].focus();
    stops[next].scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const active = document.activeElement;
    if (event.key === "Escape") {
      if (writes(active)) active.blur();
      else if (location.href !== entry) history.back();
      else document.querySelector("#menu a").click(); /* nothing of ours lies before the page we were opened at */
      return;
    }
    if (active && active.id === "search" && event.key === "ArrowDown") {
      move(1);
      event.preventDefault();
      return;
    }
    if (writes(active)) return;
    const keys = { j: 1, ArrowDown: 1, ArrowRight: 1, k: -1, ArrowUp: -1, ArrowLeft: -1 };
    if (event.key === "/") document.getElementById("search").focus();
    else if (keys[event.key]) move(keys[event.key]);
    else return;
    event.preventDefault();
  });
})();
