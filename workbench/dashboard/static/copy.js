/* The search of the copy: numbers, names, words and concepts, the clearest match first. */
(() => {
  const MOST = 200;
  const field = document.getElementById("search");

  function rank([, , number, label, words, concept], wanted) {
    if (/^#?\d+$/.test(wanted)) return +(String(number) === wanted.replace("#", ""));
    const tiers = [
      `${words} ${concept}`.toLowerCase().includes(wanted),
      words.toLowerCase().split(" ").includes(wanted),
      concept.toLowerCase() === wanted,
      label.toLowerCase().includes(wanted),
    ];
    return tiers.reduce((sum, holds, place) => sum + holds * (place + 1), 0);
  }

  function line([file, sae, number, label, , concept, auc, density]) {
    const cells = [sae, concept ? `${concept}, ${auc.toFixed(2)}` : "", density ? `${(100 * density).toPrecision(2)} %` : "never fires"];
    const row = document.createElement("tr");
    const link = Object.assign(document.createElement("a"), { href: file, className: "row" });
    link.append(Object.assign(document.createElement("b"), { textContent: number }), ` ${label}`);
    const first = Object.assign(document.createElement("td"), { className: "left" });
    first.append(link);
    row.append(first, ...cells.map((text) => Object.assign(document.createElement("td"), { className: "left", textContent: text })));
    return row;
  }

  function show() {
    const wanted = field.value.trim().toLowerCase();
    const found = window.FEATURES.map((one) => [wanted ? rank(one, wanted) : 1, one]).filter(([score]) => score);
    found.sort((a, b) => b[0] - a[0] || (wanted ? (b[1][6] || 0) - (a[1][6] || 0) : 0));
    const table = Object.assign(document.createElement("table"), { className: "results wide-rows" });
    const head = ["feature", "autoencoder", "concept, AUC", "density"];
    table.append(Object.assign(document.createElement("thead"), { innerHTML: `<tr><th class="left">${head.join('</th><th class="left">')}</th></tr>` }));
    table.append(...found.slice(0, MOST).map(([, one]) => line(one)));
    document.getElementById("results").replaceChildren(table);
    const more = found.length > MOST ? `, the first ${MOST} are shown` : "";
    document.getElementById("found").textContent = `${found.length} of ${window.FEATURES.length} features${more}`;
  }

  field.addEventListener("input", show);
  field.value = new URLSearchParams(location.search).get("q") || "";
  show();
})();
