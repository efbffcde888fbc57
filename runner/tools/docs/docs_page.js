"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const models = [...document.querySelectorAll("[data-model]")];
  const entries = [...document.querySelectorAll("[data-find]")];
  const nodes = [...document.querySelectorAll("a.node")];
  const arrows = [...document.querySelectorAll("path.arrow")];
  const input = byId("filter");
  const texts = new Map(models.map((one) => [one.id, one.textContent.toLowerCase()]));

  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (id) => words.every((word) => texts.get(id).includes(word));
    for (const one of models) one.hidden = !fits(one.id);
    for (const one of entries) one.hidden = !fits(one.dataset.find);
    for (const one of nodes) {
      one.classList.toggle("dim", texts.has(one.dataset.key) && !fits(one.dataset.key));
    }
    const found = models.filter((one) => !one.hidden).length;
    byId("found").textContent = words.length ? `${found} of ${models.length}` : "";
    byId("nothing-found").hidden = found > 0;
  };
  input.addEventListener("input", filter);
  byId("filter-box").hidden = false;
  filter();

  // A link may lead to what the filter hides, or into a closed part.
  const show = () => {
    let id = location.hash.slice(1);
    let target = byId(id);
    if (!target) {
      try { target = byId(decodeURIComponent(id)); } catch { return; }
    }
    if (!target) return;
    if (target.hidden) {
      input.value = "";
      filter();
    }
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", show);
  if (location.hash) show();

  // What a box rests on and what rests on it.
  const reach = (key, from, to, found) => {
    for (const arrow of arrows) {
      if (arrow.dataset[from] !== key) continue;
      arrow.classList.add("on");
      if (found.has(arrow.dataset[to])) continue;
      found.add(arrow.dataset[to]);
      reach(arrow.dataset[to], from, to, found);
    }
  };
  const mark = (key) => {
    reach(key, "end", "start", new Set());
    reach(key, "start", "end", new Set());
  };
  const unmark = () => { for (const arrow of arrows) arrow.classList.remove("on"); };
  for (const node of nodes) {
    for (const event of ["mouseenter", "focus"]) {
      node.addEventListener(event, () => { unmark(); mark(node.dataset.key); });
    }
    for (const event of ["mouseleave", "blur"]) node.addEventListener(event, unmark);
  }

  // Where the picture is wider than its box, its middle tells more than its empty corner.
  const box = document.querySelector(".picture");
  box.scrollLeft = (box.scrollWidth - box.clientWidth) / 2;

  // On paper all files are there; of SQL and cases only what the reader opened.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.file:not([open])")];
    for (const one of closed) one.open = true;
  });
  window.addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
