"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const table = document.querySelector(".list table");
  const bodies = [...table.tBodies].filter((body) => body.classList.contains("learner"));
  const rows = bodies.map((body) => ({ body, ...data.rows[Number(body.dataset.row)], text: body.textContent.toLowerCase() }));
  const snapshot = document.querySelector(".snapshot b")?.textContent ?? "unpublished";
  let sorted = { by: "place", down: false };

  // Contacts: an entry of the browser's storage a snapshot, each a list of rows of `interventions` with what they are of.
  const PREFIX = `call-list:${data.source}:`;
  const memory = new Map();
  let keeps = true;

  function entries() {
    const found = new Map(memory);
    if (keeps) {
      for (let at = 0; at < localStorage.length; at++) {
        const key = localStorage.key(at);
        if (!key.startsWith(PREFIX)) continue;
        try {
          const list = JSON.parse(localStorage.getItem(key));
          if (Array.isArray(list)) found.set(key, list);
        } catch { /* not ours */ }
      }
    }
    return found;
  }

  function save(key, contacts) {
    memory.set(key, contacts);
    try {
      if (contacts.length) localStorage.setItem(key, JSON.stringify(contacts));
      else localStorage.removeItem(key);
      memory.delete(key);
    } catch {
      keeps = false;
      tell("This browser keeps nothing for this page: download the contacts before you close it.");
    }
  }

  try {
    localStorage.getItem(PREFIX);
  } catch {
    keeps = false;
  }
  const contactsOf = (key) => entries().get(key) ?? [];
  const own = PREFIX + snapshot;

  function tell(text) {
    $("told").textContent = text;
  }

  // Files

  const quoted = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
  // A spreadsheet takes a cell that begins so for a formula.
  const safe = (value) => {
    const text = String(value ?? "");
    return data.formula.some((sign) => text.startsWith(sign)) ? `'${text}` : text;
  };

  function download(name, lines) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  const utc = (moment) => moment.toISOString().slice(0, 19).replace("T", " ");
  const stamp = () => new Date().toISOString().slice(0, 19).replace(/[-:]/g, "");
  const plain = (name) => name.replace(/[^\w-]+/g, "-");
  const random = () => [...crypto.getRandomValues(new Uint8Array(12))].map((x) => x.toString(16).padStart(2, "0")).join("");

  function downloadRows() {
    const shown = [...table.tBodies].filter((body) => body.classList.contains("learner") && !body.hidden);
    const told = shown.map((body) => data.rows[Number(body.dataset.row)].told);
    const columns = Object.keys(data.rows[0]?.told ?? {});
    download(`call-list-${plain(data.page)}-${stamp()}.csv`, [
      columns.map(quoted).join(","),
      ...told.map((row) => columns.map((column) => quoted(safe(row[column]))).join(",")),
    ]);
    tell(`${told.length} rows downloaded: they tell of single people, so keep the file as you keep this list.`);
  }

  function downloadContacts() {
    const all = entries();
    const waiting = [...all].flatMap(([, contacts]) => contacts.filter((contact) => !contact.downloaded));
    // Nothing new: the last file once more, should it have been lost.
    const given = waiting.length ? waiting : [...all].flatMap(([, contacts]) => contacts);
    if (!given.length) return;
    download(`interventions-${plain(data.source)}-${stamp()}-${random().slice(0, 4)}.csv`, [
      data.columns.map(quoted).join(","),
      ...given.map((contact) => data.columns.map((column) => quoted(contact.row[column])).join(",")),
    ]);
    for (const [key, contacts] of all) save(key, contacts.map((contact) => ({ ...contact, downloaded: true })));
    tell(`${given.length} ${given.length === 1 ? "contact" : "contacts"} downloaded. Put the file into the landing folder of ${data.source}.`);
    showContacts();
  }

  // Filters and order

  const isContacted = (row) => row.isContacted || notedOf(row).length > 0;
  let noted = [];
  const notedOf = (row) => noted.filter((contact) => contact.enrollment === row.enrollment);

  function isShown(row) {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const band = $("f-band").value;
    const outcome = $("f-outcome")?.value;
    const reason = $("f-reason").value;
    const news = $("f-news").value;
    const contact = $("f-contact").value;
    return (
      words.every((word) => row.text.includes(word)) &&
      (!band || row.band === band) &&
      (!outcome || row.outcome === outcome) &&
      (!reason || row.reasons.includes(reason)) &&
      (!news || (news !== "silent" && row.isNew) || (news !== "new" && row.isSilent)) &&
      (!contact || isContacted(row) === (contact === "yes"))
    );
  }

  function show() {
    let count = 0;
    for (const row of rows) {
      row.body.hidden = !isShown(row);
      count += row.body.hidden ? 0 : 1;
    }
    $("shown").textContent = count === rows.length ? `All ${count} shown` : `${count} of ${rows.length} shown`;
    $("none").hidden = count > 0;
    $("rows-csv").disabled = !count;
  }

  function sort(by, down) {
    sorted = { by, down };
    const sign = down ? -1 : 1;
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
    rows.sort((a, b) => {
      const [left, right] = [a.sort[by], b.sort[by]];
      // Without a value last in either direction, but for contacts: who had none has waited longest.
      if (by !== "contact" && (left === "") !== (right === "")) return left === "" ? 1 : -1;
      return sign * compare(left, right) || a.sort.place - b.sort.place;
    });
    table.append(...rows.map((row) => row.body));
    for (const head of table.tHead.querySelectorAll("[data-sort]")) {
      head.setAttribute("aria-sort", head.dataset.sort !== by ? "none" : down ? "descending" : "ascending");
    }
    const option = `${by}${down ? "-" : ""}`;
    $("by").value = [...$("by").options].some((one) => one.value === option) ? option : "place";
  }

  // Rows

  function open(body, is) {
    const button = body.querySelector(".opens button");
    body.classList.toggle("open", is);
    body.querySelector(".more").hidden = !is;
    button.setAttribute("aria-expanded", String(is));
    button.firstChild.data = is ? "Close" : "Open";
    if (is) addForm(body);
  }

  function addForm(body) {
    const box = body.querySelector(".contact-box");
    const template = $("contact-form");
    if (!template || box.firstChild) return;
    box.append(template.content.cloneNode(true));
    const row = rows.find((one) => one.body === body);
    const form = box.querySelector("form");
    const now = new Date();
    form.elements.contacted_at.value = new Date(now - now.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      note(row, form);
    });
    showNoted(row);
  }

  function note(row, form) {
    const now = new Date();
    const contact = {
      intervention_id: `call-list-${random()}`,
      learner_id: row.learner_id,
      program_id: row.program_id,
      course_id: row.course_id,
      channel: form.elements.channel.value,
      topic: form.elements.topic.value,
      // The file is loaded as it is and may be opened before: nothing written here can be a formula.
      contacted_by: form.elements.contacted_by.value.trim().replace(/^[=+\-@\s]+/, ""),
      contacted_at: utc(new Date(form.elements.contacted_at.value)),
      recorded_at: utc(now),
    };
    save(own, [...contactsOf(own), { enrollment: row.enrollment, row: contact, downloaded: false }]);
    showContacts();
    tell("Noted in this browser. Download the contacts before you change to another one.");
  }

  function showNoted(row) {
    const mine = notedOf(row);
    const cell = row.body.querySelector(".last");
    cell.querySelector(".noted").replaceChildren(
      ...mine.slice(-1).map(({ row: contact }) => {
        const tag = document.createElement("span");
        tag.className = "tag noted";
        tag.textContent = `noted: ${contact.channel}, ${contact.contacted_at.slice(0, 10)}`;
        return tag;
      }),
    );
    if (mine.length) cell.classList.remove("blank");
    else cell.classList.toggle("blank", cell.textContent.trim() === "");
    const list = row.body.querySelector(".noted-list");
    list?.replaceChildren(
      ...mine.map((contact) => {
        const item = document.createElement("li");
        const text = document.createElement("span");
        const at = new Date(`${contact.row.contacted_at.replace(" ", "T")}Z`);
        const parts = [contact.row.channel, contact.row.topic, contact.row.contacted_by, at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })];
        text.textContent = parts.filter(Boolean).join(", ") + (contact.downloaded ? " (downloaded)" : "");
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = "Remove";
        button.setAttribute("aria-label", `Remove ${text.textContent}`);
        button.addEventListener("click", () => {
          for (const [key, contacts] of entries()) {
            save(key, contacts.filter((one) => one.row.intervention_id !== contact.row.intervention_id));
          }
          showContacts();
          tell("Removed.");
        });
        item.append(text, button);
        return item;
      }),
    );
  }

  function showContacts() {
    noted = [...entries().values()].flat();
    rows.forEach(showNoted);
    const button = $("contacts-csv");
    if (button) {
      const waiting = noted.filter((contact) => !contact.downloaded).length;
      button.disabled = !noted.length;
      button.textContent = waiting ? `Download ${waiting} ${waiting === 1 ? "contact" : "contacts"}` : noted.length ? "Download contacts again" : "No contacts noted yet";
    }
    show();
  }

  // Start: what a page without a script shows whole is folded.

  for (const head of table.tHead.querySelectorAll("[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(head.dataset.sort, sorted.by === head.dataset.sort && !sorted.down));
    head.replaceChildren(button);
  }
  for (const { body } of rows) {
    open(body, false);
    body.querySelector(".row").addEventListener("click", (event) => {
      if (!getSelection().toString() || event.target.closest("button")) open(body, !body.classList.contains("open"));
    });
  }
  $("tools").hidden = false;
  for (const id of ["search", "f-band", "f-outcome", "f-reason", "f-news", "f-contact"]) $(id)?.addEventListener("input", show);
  $("by").addEventListener("input", () => sort($("by").value.replace("-", ""), $("by").value.endsWith("-")));
  $("clear").addEventListener("click", () => {
    for (const id of ["search", "f-band", "f-outcome", "f-reason", "f-news", "f-contact"]) if ($(id)) $(id).value = "";
    sort("place", false);
    show();
  });
  $("fold").addEventListener("click", () => {
    $("fold").setAttribute("aria-expanded", String($("filters").classList.toggle("unfolded")));
  });
  $("open-all").addEventListener("click", () => {
    const is = $("open-all").getAttribute("aria-pressed") !== "true";
    $("open-all").setAttribute("aria-pressed", String(is));
    $("open-all").textContent = is ? "Close all" : "Open all";
    for (const row of rows) open(row.body, is);
  });
  $("rows-csv").addEventListener("click", downloadRows);
  $("contacts-csv")?.addEventListener("click", downloadContacts);
  // What was downloaded under an earlier snapshot is no longer needed; what was not, waits.
  for (const [key, contacts] of entries()) {
    if (key !== own && contacts.length && contacts.every((contact) => contact.downloaded)) save(key, []);
  }
  addEventListener("storage", showContacts);
  showContacts();
})();
