"use strict";
/* The clips: a button that pauses them all, and two methods side by side by class. Without this script clips play, except for
   visitors whose system asks for reduced motion. */
(() => {
  const all = (selector, where = document) => [...where.querySelectorAll(selector)];
  const made = (tag, text = "") => { const element = document.createElement(tag); element.textContent = text; return element; };
  const REDUCED = "(prefers-reduced-motion: reduce)";
  let paused = matchMedia(REDUCED).matches;

  /* A clip's <source> is its still picture, which a medium that always or never matches turns on or off. */
  const still = (where = document) => {
    for (const source of all("picture source", where)) source.media = paused ? "all" : "not all";
    for (const button of all("button.pause")) button.textContent = paused ? "Play clips" : "Pause clips";
  };
  const pauseButton = () => {
    const button = made("button", paused ? "Play clips" : "Pause clips");
    button.type = "button";
    button.className = "pause";
    button.addEventListener("click", () => { paused = !paused; still(); });
    return button;
  };
  for (const list of all(".previews")) if (list.querySelector("source")) list.before(pauseButton());

  /* The rows of a table whose clips are here: name, folder of its page, classes, and accuracies from the map of classes. */
  const rowsOf = (article) => {
    const scores = new Map(all(".heat tbody tr", article).map((row) => [row.cells[0].textContent, [...row.cells].slice(1).map((cell) => cell.textContent)]));
    return all("tr[data-clips]", article.querySelector("table.ranks")).map((row) => {
      const link = row.querySelector("th a");
      const folder = link.getAttribute("href").replace("index.html", "");
      const name = (link.querySelector(".r") || link).textContent;
      return { name, folder, id: folder.split("/")[2], classes: row.dataset.clips.split(" "), scores: scores.get(name), hasStill: !!row.querySelector("source") };
    });
  };
  const picture = (row, label, name) => {
    const frame = made("picture");
    const number = label.padStart(4, "0");
    if (row.hasStill) {
      const source = made("source");
      source.srcset = `${row.folder}still${number}.webp`;
      frame.append(source);
    }
    const clip = made("img");
    clip.loading = "lazy";
    clip.alt = `clip of class ${name} by ${row.name}`;
    clip.src = `${row.folder}class${number}.webp`;
    frame.append(clip);
    return frame;
  };

  const fill = (place, article, chosen) => {
    const rows = rowsOf(article);
    place.hidden = rows.length < 2;
    if (place.hidden) return;
    const pair = [0, 1].map((i) => rows.find((row) => row.id === chosen[i]) || rows[i]);
    const names = all(".heat thead th", article).map((head) => head.textContent);
    const bar = made("div");
    bar.className = "choose";
    const selects = pair.map((shown, i) => {
      const label = made("label");
      const select = made("select");
      for (const row of rows) select.add(new Option(row.name, row.id, false, row === shown));
      select.addEventListener("change", () => dispatchEvent(new CustomEvent("compare", { detail: selects.map((one) => one.value).join(",") })));
      label.append(made("span", i ? "with" : "Compare"), select);
      bar.append(label);
      return select;
    });
    bar.append(pauseButton());
    const list = made("ul");
    list.className = "pairs";
    for (const label of pair[0].classes.filter((label) => pair[1].classes.includes(label))) {
      const item = made("li");
      item.append(made("b", names[label] || `class ${label}`));
      for (const row of pair) item.append(picture(row, label, names[label] || label));
      for (const row of pair) item.append(made("span", row.scores ? `${row.name} ${row.scores[label]} %` : row.name));
      list.append(item);
    }
    const unit = made("p", "Beside a method: its top-1 accuracy on the test videos of that class.");
    unit.className = "note";
    place.replaceChildren(made("h3", "Clips side by side"), bar, unit, list);
    still(place);
  };
  addEventListener("shown", ({ detail }) => {
    for (const place of all("section.task .compare")) {
      const article = place.closest("article");
      const chosen = detail.compare.split(",");
      const isShown = place.closest("section").classList.contains("on") && !article.hidden;
      if (isShown && place.dataset.chosen !== detail.compare) { place.dataset.chosen = detail.compare; fill(place, article, chosen); }
    }
  });
  if (paused) still();
})();
