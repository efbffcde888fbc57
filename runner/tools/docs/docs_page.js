"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const models = [...document.querySelectorAll("[data-model]")];
  const entries = [...document.querySelectorAll("[data-find]")];
  const nodes = [...document.querySelectorAll("a.node")];
  const arrows = [...document.querySelectorAll("path.arrow")];
  const input = byId("filter");
  const texts = new Map(models.map((model) => [model.id, model.textContent.toLowerCase()]));

  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (id) => words.every((word) => texts.get(id).includes(word));
    for (const model of models) model.hidden = !fits(model.id);
    for (const entry of entries) entry.hidden = !fits(entry.dataset.find);
    for (const node of nodes) {
      node.classList.toggle("dim", texts.has(node.dataset.key) && !fits(node.dataset.key));
    }
    const found = models.filter((model) => !model.hidden).length;
    byId("found").textContent = words.length ? `${found} of ${models.length}` : "";
    byId("nothing-found").hidden = found > 0;
  };
  input.addEventListener("input", filter);
  byId("filter-box").hidden = false;
  filter();

  // Show the target of a link, even if the filter hides it or its section is closed.
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

  // Mark the arrows to all boxes upstream and downstream of a box.
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

  // If the picture is wider than its frame, start in the middle: its corner is empty.
  const box = document.querySelector(".picture");
  box.scrollLeft = (box.scrollWidth - box.clientWidth) / 2;

  // Open all files before printing. SQL and unit tests stay as the reader left them.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.file:not([open])")];
    for (const details of closed) details.open = true;
  });
  window.addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
})();
