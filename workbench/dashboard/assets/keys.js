/* The search field and the keyboard: / searches, j and k or the arrows move from link to link, Enter opens, Escape goes
   back. The field is made here: Dash writes its own fields anew while one types, and letters change places. */
(() => {
  const entry = location.href;
  const STOPS = "main .tile, main a.row, main .related a, main .button";
  const field = Object.assign(document.createElement("input"), {
    id: "search", type: "search", autocomplete: "off", placeholder: "Search a number, name, word or concept   /",
  });
  field.setAttribute("aria-label", "Search");

  const asked = (search) => new URLSearchParams(search || "").get("q") || "";
  const writes = (element) => element && element.matches("input, textarea, select, [contenteditable]");

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    dashboard: {
      /* The field follows the address, except while someone types in it. */
      follow: (search) => { if (document.activeElement !== field) field.value = asked(search); },
    },
  });

  field.value = asked(location.search);
  const waiting = setInterval(() => {
    const place = document.getElementById("search-place");
    if (!place) return;
    clearInterval(waiting);
    place.append(field);
  }, 20);

  let pause;
  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => window.dash_clientside.set_props("typed", { data: field.value }), 250);
  });

  function move(by) {
    const stops = [...document.querySelectorAll(STOPS)].filter((one) => one.offsetParent);
    if (!stops.length) return;
    const at = stops.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : stops.length - 1) : Math.min(Math.max(at + by, 0), stops.length - 1);
    stops[next].focus();
    stops[next].scrollIntoView({ block: "nearest" });
  }

  function back() {
    if (writes(document.activeElement)) document.activeElement.blur();
    else if (location.href !== entry) history.back();
    else document.querySelector("#menu a").click(); /* nothing of ours lies before the page we were opened at */
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { j: 1, ArrowDown: 1, ArrowRight: 1, k: -1, ArrowUp: -1, ArrowLeft: -1 };
    const active = document.activeElement;
    if (event.key === "Escape") return back();
    if (active === field && event.key === "ArrowDown") move(1);
    else if (writes(active)) return;
    else if (event.key === "/") field.focus();
    else if (moves[event.key]) move(moves[event.key]);
    else return;
    event.preventDefault();
  });
})();
