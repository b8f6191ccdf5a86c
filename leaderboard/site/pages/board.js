"use strict";
/* Sorts and filters the tables of the page. The part of the address after # determines what is shown:
   #TASK&division=open&q=...&student=...&track=...&only=...&sort=KEY, or sort=-KEY (descending). Without it, division ipc of the
   first task, by rank. */
(() => {
  const root = document.documentElement;
  const all = (selector, where = document) => [...where.querySelectorAll(selector)];

  const toggle = document.getElementById("theme");
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { toggle.textContent = isDark() ? "Light" : "Dark"; toggle.setAttribute("aria-label", `${toggle.textContent} colours`); };
  toggle.hidden = false;
  name();
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* no storage: the choice holds for this page only */ }
    name();
  });

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const hide = () => { tip.hidden = true; };
  const show = (mark) => {
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const left = Math.min(Math.max(4, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 4);
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${box.top + scrollY - tip.offsetHeight - 8}px`;
  };
  for (const chart of all("figure svg")) {
    chart.addEventListener("pointerover", (event) => {
      const mark = event.target.closest("[aria-roledescription='circle']");
      if (mark) show(mark);
      else hide();
    });
    chart.addEventListener("pointerleave", hide);
  }

  const AT_FIRST = 100; /* rows of a long table */
  const form = document.getElementById("filters");
  if (!form) return;
  const field = form.elements;
  const sections = all("section.task");
  const links = all("nav.tasks a");
  const tables = all("table.ranks");
  const fields = ["division", "q", "student", "track", "only", "sort"];
  const heads = new Map(all("th", tables[0]?.tHead).map((head) => [head.dataset.key, head]));
  const option = (select, value, text) => select.add(new Option(text, value));
  for (const student of new Set(tables.map((table) => table.dataset.student))) option(field.student, student, student);
  for (const [key, head] of heads) option(field.sort, (head.hasAttribute("data-down") ? "-" : "") + key, head.textContent);
  for (const [key, head] of heads) option(field.sort, (head.hasAttribute("data-down") ? "" : "-") + key, `${head.textContent}, reversed`);

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
  const keys = [...heads.keys()];
  const textColumns = new Set(["method", "flags", "verified", "date"]);
  const number = (text) => { const value = parseFloat(text.replace("−", "-").replace(",", "")); return Number.isNaN(value) ? null : value; };

  const parse = () => {
    const [task, ...rest] = location.hash.slice(1).split("&");
    const given = new URLSearchParams(rest.join("&"));
    const state = { task: "" };
    try { state.task = decodeURIComponent(task); } catch { /* not an address of this page */ }
    if (!sections.some((section) => section.id === state.task)) state.task = state.task === "all" ? "all" : sections[0]?.id;
    for (const key of fields) state[key] = given.get(key) || "";
    if (state.division !== "open") state.division = "ipc";
    for (const key of ["student", "track", "only", "sort"]) if (![...field[key].options].some((option) => option.value === state[key])) state[key] = key === "sort" ? "rank" : "";
    return state;
  };
  const usual = { division: "ipc", sort: "rank" }; /* left out of addresses */
  const written = (state) => {
    const given = new URLSearchParams(fields.filter((key) => state[key] && state[key] !== usual[key]).map((key) => [key, state[key]]));
    return `#${state.task}${given.size ? `&${given}` : ""}`;
  };
  const current = () => ({ task: parse().task, ...Object.fromEntries(fields.map((key) => [key, field[key].value])) });
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
      more[i].hidden = true;
      const inTask = state.task === "all" || table.closest("section").id === state.task;
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
        if (inTask && inDivision(table) && !body.classList.contains("reference")) { total += rows.length; if (fits(table)) seen += shown; }
      }
    });
    for (const part of all("article.table, article.transfer")) part.hidden = !fits(part);
    for (const section of sections) section.classList.toggle("on", state.task === "all" || section.id === state.task);
    form.hidden = !sections.some((section) => section.classList.contains("on") && section.querySelector("table.ranks"));
    for (const link of links) link.toggleAttribute("aria-current", link.hash.slice(1) === state.task);
    document.getElementById("count").textContent = `${seen} of ${total} ${total === 1 ? "entry" : "entries"}`;
    document.getElementById("permalink").href = written(state);
    for (const link of links) link.href = written({ ...state, task: decodeURIComponent(link.hash.slice(1).split("&")[0]) });
  };

  const allTasks = document.createElement("a");
  allTasks.href = "#all";
  allTasks.textContent = "all";
  if (links.length > 1) { links[0].parentNode.append(allTasks); links.push(allTasks); }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => set({ [event.target.name]: event.target.value }));
  form.addEventListener("reset", (event) => { event.preventDefault(); set({ q: "", student: "", track: "", only: "", sort: "rank" }); });
  addEventListener("hashchange", apply);
  for (const table of tables) table.tHead.rows[0].cells[0].setAttribute("aria-sort", "ascending");
  apply();
})();
