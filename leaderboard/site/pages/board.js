"use strict";
/* Shows one table at a time, sorts and filters it. The part of the address after # determines what is shown:
   #TASK&division=open&q=...&student=...&track=...&only=...&compare=A,B&sort=KEY, or sort=-KEY (descending). Without it,
   division ipc of the first task, by rank. TASK is also a dataset (its first budget), "overall" or "all". */
(() => {
  const HUB = "https://huggingface.co";
  const AT_FIRST = 100; /* rows of a long table */
  const all = (selector, where = document) => [...where.querySelectorAll(selector)];
  const form = document.getElementById("filters");
  if (!form) return;
  const field = form.elements;
  const sections = all("section.task");
  const tables = all("table.ranks");
  const unknown = document.getElementById("unknown");
  const fields = ["division", "q", "student", "track", "only", "sort"];
  const heads = new Map(all("th", tables[0]?.tHead).map((head) => [head.dataset.key, head]));
  const keys = [...heads.keys()];
  const option = (select, value, text) => select.add(new Option(text, value));
  for (const student of new Set(tables.map((table) => table.dataset.student))) option(field.student, student, student);
  for (const [key, head] of heads) option(field.sort, (head.hasAttribute("data-down") ? "-" : "") + key, head.textContent);
  for (const [key, head] of heads) option(field.sort, (head.hasAttribute("data-down") ? "" : "-") + key, `${head.textContent}, reversed`);

  /* Datasets, in the order of their sections, and what is not of one dataset. */
  const tasks = sections.filter((section) => section.dataset.dataset);
  for (const dataset of new Set(tasks.map((section) => section.dataset.dataset))) {
    const most = Math.max(...tasks.filter((section) => section.dataset.dataset === dataset).map((section) => +section.dataset.entries));
    option(field.dataset, dataset, most ? `${dataset} (${most} ${most === 1 ? "method" : "methods"})` : `${dataset} (no record yet)`);
  }
  if (document.getElementById("overall")) option(field.dataset, "overall", "all tasks combined");
  option(field.dataset, "all", "every table on one page");

  /* Turns every column's head into a button, and reads the texts that rows are sorted and searched by. */
  const bodies = tables.map((table) => {
    for (const head of all("th", table.tHead)) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => {
        const down = head.hasAttribute("data-down");
        const now = field.sort.value;
        const key = head.dataset.key;
        set({ sort: now === (down ? "-" : "") + key ? (down ? "" : "-") + key : (down ? "-" : "") + key });
      });
      head.append(button);
    }
    return [...table.tBodies].map((body) => ({
      body,
      rows: [...body.rows].filter((row) => !row.classList.contains("head")).map((row, place) => ({
        row, place, text: row.textContent.toLowerCase(), cells: [...row.cells].map((cell) => (cell.querySelector(".n") || cell).textContent.trim()),
      })),
    }));
  });

  /* Columns that say nothing in a table are hidden at first (`no-KEY`); a box shows or hides a column of all tables. */
  const columns = document.getElementById("columns");
  for (const key of keys.filter((key) => !["rank", "method", "top1"].includes(key))) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = tables.some((table) => !table.classList.contains(`no-${key}`));
    box.addEventListener("input", (event) => {
      event.stopPropagation();
      for (const table of tables) table.classList.toggle(`no-${key}`, !box.checked);
    });
    label.append(box, ` ${heads.get(key).textContent}`);
    columns.append(label);
  }

  /* A long table shows its first rows until all are asked for, because hidden rows cost no time for layout. */
  const whole = new Set();
  const more = tables.map((table) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "more";
    button.addEventListener("click", () => { whole.add(table); apply(); });
    table.parentNode.after(button);
    return button;
  });
  const textColumns = new Set(["method", "flags", "verified", "date"]);
  const number = (text) => { const value = parseFloat(text.replace("−", "-").replaceAll(",", "")); return Number.isNaN(value) ? null : value; };

  const parse = () => {
    const [task, ...rest] = location.hash.slice(1).split("&");
    const given = new URLSearchParams(rest.join("&"));
    const state = { task: null, compare: given.get("compare") || "" };
    try { state.task = decodeURIComponent(task); } catch { /* not an address of this page */ }
    if (state.task === "" || state.task === "main") state.task = sections[0].id;
    const ofDataset = tasks.find((section) => section.dataset.dataset === state.task);
    if (ofDataset) state.task = ofDataset.id;
    state.isKnown = state.task === "all" || sections.some((section) => section.id === state.task);
    for (const key of fields) state[key] = given.get(key) || "";
    if (state.division !== "open") state.division = "ipc";
    for (const key of ["student", "track", "only", "sort"]) if (![...field[key].options].some((option) => option.value === state[key])) state[key] = key === "sort" ? "rank" : "";
    return state;
  };
  const usual = { division: "ipc", sort: "rank" }; /* left out of addresses */
  const written = (state) => {
    const given = new URLSearchParams([...fields, "compare"].filter((key) => state[key] && state[key] !== usual[key]).map((key) => [key, state[key]]));
    return `#${encodeURIComponent(state.task ?? "")}${given.size ? `&${given}` : ""}`;
  };
  const current = () => ({ ...parse(), ...Object.fromEntries(fields.map((key) => [key, field[key].value])) });
  const set = (change) => {
    history.replaceState(null, "", written({ ...current(), ...change }));
    apply();
  };

  let sorted = "rank";
  const sort = (key) => {
    if (key === sorted) return;
    sorted = key;
    const down = key.startsWith("-");
    const at = keys.indexOf(key.replace("-", ""));
    const isText = textColumns.has(keys[at]);
    const order = new Intl.Collator("en").compare;
    tables.forEach((table, i) => {
      table.classList.toggle("by-rank", key === "rank");
      for (const head of table.tHead.rows[0].cells) {
        if (head.dataset.key === keys[at]) head.setAttribute("aria-sort", down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      }
      for (const part of bodies[i]) {
        const keyed = part.rows.map((entry) => ({ ...entry, value: isText ? entry.cells[at] || null : number(entry.cells[at]) }));
        keyed.sort((a, b) => {
          if (key === "rank") return a.place - b.place;
          if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
          return (isText ? order(a.value, b.value) : a.value - b.value) * (down ? -1 : 1) || a.place - b.place;
        });
        part.rows = keyed;
        part.body.append(...keyed.map((entry) => entry.row));
      }
    });
  };

  /* Hides the rows of a table that do not match; returns how many match, and of how many. The reference is not counted. */
  const filter = (table, i, state, words) => {
    const count = { shown: 0, total: 0 };
    more[i].hidden = true;
    for (const { body, rows } of bodies[i]) {
      let shown = 0;
      for (const { row, text } of rows) {
        const matches = words.every((word) => text.includes(word)) && (!state.only || row.hasAttribute(`data-${state.only}`));
        shown += matches;
        row.hidden = !matches || (shown > AT_FIRST && !whole.has(table));
      }
      if (shown > AT_FIRST && !whole.has(table)) {
        more[i].hidden = false;
        more[i].textContent = `Show all ${shown} entries`;
      }
      body.hidden = shown === 0;
      if (!body.classList.contains("reference")) { count.shown += shown; count.total += rows.length; }
    }
    return count;
  };

  const apply = () => {
    const state = parse();
    for (const key of fields) if (field[key].value !== state[key]) field[key].value = state[key];
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const inDivision = (part) => !part.dataset.division || part.dataset.division === state.division;
    const fits = (part) => inDivision(part) && (!state.student || !part.dataset.student || part.dataset.student === state.student) && (!state.track || part.dataset.track === state.track);
    let seen = 0;
    let total = 0;
    sort(state.sort);
    tables.forEach((table, i) => {
      const count = filter(table, i, state, words);
      if (!inDivision(table) || (state.task !== "all" && table.closest("section").id !== state.task)) return;
      total += count.total;
      if (fits(table)) seen += count.shown;
    });
    for (const part of all("article.table, article.transfer")) part.hidden = !fits(part);
    for (const section of sections) section.classList.toggle("on", state.task === "all" || section.id === state.task);
    document.getElementById("count").textContent = total ? `${seen} of ${total} ${total === 1 ? "entry" : "entries"}` : "";
    document.getElementById("permalink").href = written(state);
    choose(state);
    dispatchEvent(new CustomEvent("shown", { detail: state }));
    if (window.parent !== window) window.parent.postMessage({ hash: written(state) }, HUB); /* a Space is shown in a frame of the Hub */
  };

  /* The selectors of dataset and budget; a sentence for an address that leads nowhere. */
  const choose = (state) => {
    unknown.hidden = state.isKnown;
    if (!state.isKnown) unknown.textContent = `This board has nothing under the address “${location.hash.slice(1, 80)}”. Choose a dataset and a budget above.`;
    const section = tasks.find((section) => section.id === state.task);
    field.dataset.value = section ? section.dataset.dataset : state.task;
    field.budget.replaceChildren();
    for (const one of section ? tasks.filter((other) => other.dataset.dataset === section.dataset.dataset) : []) option(field.budget, one.id, one.dataset.budget);
    if (section) field.budget.value = section.id;
    field.budget.closest("label").hidden = !section;
    form.querySelector("details").hidden = !sections.some((one) => one.classList.contains("on") && one.querySelector("article"));
  };

  form.hidden = false;
  if (matchMedia("(min-width: 48rem)").matches || location.hash.includes("&q=")) form.querySelector("details").open = true;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    const { name, value } = event.target;
    const ofDataset = tasks.filter((section) => section.dataset.dataset === value);
    const budget = field.budget.selectedOptions[0]?.textContent;
    if (name === "budget") set({ task: value, compare: "" });
    else if (name === "dataset") set({ task: (ofDataset.find((section) => section.dataset.budget === budget) || ofDataset[0])?.id ?? value, compare: "" });
    else set({ [name]: value });
  });
  form.addEventListener("reset", (event) => { event.preventDefault(); set({ q: "", student: "", track: "", only: "", sort: "rank" }); });
  addEventListener("hashchange", apply);
  addEventListener("compare", (event) => set({ compare: event.detail }));
  for (const table of tables) table.tHead.rows[0].cells[0].setAttribute("aria-sort", "ascending");
  apply();
})();
