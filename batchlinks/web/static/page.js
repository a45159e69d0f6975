// The page's own script. It uses the same calls as any other program: see /docs.

const find = (what, where = document) => where.querySelector(what);
const number = new Intl.NumberFormat("en-US");

function say(sentence) {
  find("#say").textContent = sentence;
}

let toastTimer;
function trouble(sentence) {
  const toast = find("#trouble");
  toast.textContent = sentence;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 12000);
}

async function call(method, path, fields) {
  const options = { method, headers: { Accept: "application/json" } };
  if (fields !== undefined) {
    options.body = JSON.stringify(fields);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    lost("down");
    throw new Error("We can't reach the server. Check that it's still running.");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  if (answer.status === 401) {
    lost("out");
    throw new Error("You've been signed out. Open the link from IT again.");
  }
  const told = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(told.detail || `The server answered ${answer.status}.`), { told });
}

// --- is the server there, am I still signed in, is the list still there? Said within five seconds. --------------------

const LOOK_EVERY_MS = 2500, PATIENCE_MS = 2000;
const LOST = {
  down: "We can't reach the server. If it is down, ask IT to start it. What runs goes on, and this page finds it again by itself.",
  out: "You've been signed out. Open the link from IT again, or sign in again. Nothing is lost.",
  gone: "This list was deleted, by someone or automatically. Links already created stay valid.",
};

function lost(what) {
  const bar = find("#lost");
  if (what && bar.dataset.what !== what) bar.textContent = LOST[what];
  bar.dataset.what = what || "";
  bar.hidden = !what;
}

async function lookAfterServer() {
  if (!document.hidden && find("#uploading")?.hidden !== false) {
    const run = find("#run");
    try {
      const path = run ? `/api/runs/${run.dataset.id}` : "/static/icon.svg";
      const answer = await fetch(path, { cache: "no-store", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE_MS) });
      const was = find("#lost").dataset.what;
      lost(answer.status === 401 ? "out" : answer.status === 404 ? "gone" : null);
      if (was === "down" && answer.ok && run) {
        const now = (await answer.json()).state;
        if (now !== run.dataset.state || now === "running" || now === "waiting") await showAnew();
      }
    } catch {
      lost("down");
    }
  }
  setTimeout(lookAfterServer, LOOK_EVERY_MS);
}

// --- what the server shows, in the reader's own time ---------------------------------------------------------------

function localTimes(where) {
  const form = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of where.querySelectorAll("time[datetime]")) time.textContent = form.format(new Date(time.dateTime));
}

async function partOf(path, what) {
  const answer = await fetch(path, { headers: { Accept: "text/html" } });
  if (answer.status === 404) { location.assign("/"); return null; }
  if (!answer.ok) throw new Error("This page is out of date. Reload it.");
  return find(what, new DOMParser().parseFromString(await answer.text(), "text/html"));
}

async function showAnew() {
  const fresh = await partOf(location.pathname, "#run");
  if (!fresh) return;
  find("#run").replaceWith(fresh);
  prepare();
  const heading = find("h2", fresh) || find("h1", fresh);
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  scrollTo({ top: 0 });
  say(heading.textContent);
  titleOf(fresh);
}

// --- the browser's title, and a notification: how far it is, and when it is done --------------------------------------

const ENDED = { done: "Done", stopped: "Stopped" };
let wantsNotice = false;

function titleOf(run, said) {
  const words = said || ENDED[run.dataset.state];
  document.title = `${words ? `${words} · ` : ""}${run.dataset.name} · batchlinks`;
  if (!said && words && wantsNotice) {
    wantsNotice = false;
    new Notification(`${words}: ${run.dataset.name}`, { body: `${number.format(Number(run.dataset.linked))} links`, icon: "/static/icon.svg" });
  }
}

function offerNotice(run) {
  const button = find("[data-notify]", run);
  if (!button || !("Notification" in window) || Notification.permission === "denied") return;
  button.hidden = wantsNotice;
  button.addEventListener("click", async () => {
    wantsNotice = await Notification.requestPermission() === "granted";
    button.hidden = true;
    say(wantsNotice ? "You will be notified when it is done." : "Your browser doesn't allow notifications from this page.");
  });
}

// --- home: upload --------------------------------------------------------------------------------------------------

function prepareHome() {
  const form = find("#upload");
  if (!form) return;
  const input = find("#roster");
  let depth = 0;
  const over = (is) => form.classList.toggle("over", is);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => event.preventDefault());
  form.addEventListener("dragenter", () => { depth += 1; over(true); });
  form.addEventListener("dragleave", () => { depth -= 1; over(depth > 0); });
  form.addEventListener("drop", (event) => {
    depth = 0;
    over(false);
    if (event.dataTransfer.files.length > 1) trouble("One list at a time, please.");
    else if (event.dataTransfer.files.length) upload(event.dataTransfer.files[0], {});
  });
  input.addEventListener("change", () => { if (input.files.length) upload(input.files[0], {}); });
  form.addEventListener("submit", (event) => { event.preventDefault(); if (input.files.length) upload(input.files[0], {}); });
  prepareHistory();
  keepHistory();
}

function upload(file, fields) {
  const form = find("#upload"), shown = find("#uploading"), title = find("#uploading-title"), bar = find("#uploading-bar");
  const body = new FormData();
  body.append("roster", file, file.name);
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  form.hidden = true;
  find("#refused").hidden = true;
  shown.hidden = false;
  bar.value = 0;
  title.textContent = "Uploading…";
  find("#uploading-name").textContent = file.name;
  say("Uploading the list.");
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = 100 * event.loaded / event.total;
  });
  request.upload.addEventListener("load", () => {
    bar.removeAttribute("value");
    title.textContent = "Checking every row…";
    say("Checking every row.");
  });
  request.addEventListener("load", () => {
    let told = {};
    try { told = JSON.parse(request.responseText); } catch { /* answered below */ }
    if (request.status === 201) location.assign(`/runs/${told.id}`);
    else refused(file, told.detail || `The server answered ${request.status}.`, told, fields);
  });
  request.addEventListener("error", async () => {
    const reached = await fetch("/static/icon.svg", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) }).then(() => true, () => false);
    if (!reached) lost("down");
    refused(file, reached
      ? "The upload failed. Check that the file hasn't changed or moved, then choose it again."
      : "We can't reach the server. Your file is fine; upload it again once the server is running.", {}, fields);
  });
  request.open("POST", "/api/runs");
  request.setRequestHeader("Accept", "application/json");
  request.send(body);
}

function refused(file, why, { asks, sheets, header_rows: headerRows }, fields) {
  find("#uploading").hidden = true;
  find("#upload").hidden = false;
  find("#roster").value = "";
  const card = find("#refused"), choices = find("#sheets");
  const answers = sheets
    ? sheets.map((name) => [name, { ...fields, sheet: name }])
    : (headerRows || []).map((row) => [`The headers are in row ${row}`, { ...fields, header_row: row }]);
  find("#refused-title").textContent = sheets ? "Which sheet is the patient list?" : headerRows ? "Which table is the patient list?" : "We can't read this list yet";
  find("#refused-why").textContent = sheets ? "Several sheets of this workbook could be it." : why;
  card.classList.toggle("bad", !answers.length);
  choices.hidden = !answers.length;
  const retry = find("#retry"), unlock = find("#unlock");
  retry.hidden = asks !== "column" && asks !== "tables";
  retry.onsubmit = (event) => {
    event.preventDefault();
    upload(file, { ...fields, ...Object.fromEntries(Array.from(new FormData(retry)).filter(([, value]) => value !== "")) });
  };
  unlock.hidden = asks !== "password";
  unlock.onsubmit = (event) => {
    event.preventDefault();
    const { password } = Object.fromEntries(new FormData(unlock));
    unlock.reset();
    upload(file, { ...fields, password });
  };
  choices.replaceChildren(...answers.map(([words, chosen]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = words;
    button.addEventListener("click", () => upload(file, chosen));
    return button;
  }));
  card.hidden = false;
  card.focus();
  card.scrollIntoView({ block: "nearest" });
}

function prepareHistory() {
  const search = find("[data-search]");
  const filter = () => {
    const words = search.value.trim().toLowerCase().split(/\s+/);
    for (const item of document.querySelectorAll(".runs li")) {
      item.hidden = !words.every((word) => item.dataset.words.toLowerCase().includes(word));
    }
  };
  search?.addEventListener("input", filter);
  for (const button of document.querySelectorAll("[data-delete-run]")) {
    button.addEventListener("click", () => askToDelete(button.dataset.name, async () => {
      await call("DELETE", `/api/runs/${button.dataset.deleteRun}`);
      location.reload();
    }));
  }
}

function askToDelete(name, remove) {
  const dialog = find("#sure");
  find("#sure-name").textContent = name;
  dialog.onclose = () => {
    if (dialog.returnValue === "delete") remove().catch((error) => trouble(error.message));
  };
  dialog.returnValue = "";
  dialog.showModal();
}

function keepHistory() {
  if (!find("#history[data-live]")) return;
  setTimeout(async () => {
    try {
      const fresh = document.hidden ? null : await partOf("/", "#history");
      const old = find("#history");
      if (fresh && !old.contains(document.activeElement) && !find("#sure").open) { old.replaceWith(fresh); localTimes(fresh); prepareHistory(); }
    } catch { /* the next time may do */ }
    keepHistory();
  }, 2000);
}

// --- a run ---------------------------------------------------------------------------------------------------------

async function doing(element, work) {
  const run = find("#run");
  if (run.getAttribute("aria-busy") === "true") return;
  run.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    trouble(error.message);
  } finally {
    find("#run")?.removeAttribute("aria-busy");
  }
}

function fieldsOf(form) {
  const fields = {};
  const parts = Array.from(form.elements).filter((control) => "part" in control.dataset && control.value !== "");
  if (parts.length) fields.id_column = parts.map((control) => control.value).join("+");
  for (const control of form.elements) {
    if (!control.name || "listed" in control.dataset) continue;
    if ("unlessChanged" in control.dataset && !isChanged(control)) continue;
    if ("true" in control.dataset) { fields[control.name] = true; continue; }
    if (control.type === "radio") { if (control.checked) fields[control.name] = control.value; }
    else if (control.type === "checkbox") fields[control.name] = control.checked || null;
    else if (control.value === "") fields[control.name] = null;
    else fields[control.name] = "number" in control.dataset ? Number(control.value) : control.value;
  }
  const listed = Array.from(form.elements).filter((control) => "listed" in control.dataset);
  if (listed.some((control) => control.checked !== control.defaultChecked)) {
    const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
    fields[listed[0].name] = listed.filter((control) => control.checked).map((control) => quoted(control.value)).join(",");
  }
  return fields;
}

function isChanged(control) {
  if (control instanceof HTMLSelectElement) return Array.from(control.options).some((option) => option.selected !== option.defaultSelected);
  return control.value !== control.defaultValue;
}

function typedCells(run) {
  const whole = new Set(), cells = [];
  for (const input of run.querySelectorAll("[data-cell]")) {
    if (input.value !== input.defaultValue && input.closest("[data-whole]")) whole.add(input.closest("[data-whole]"));
  }
  for (const input of run.querySelectorAll("[data-cell]")) {
    if (input.value !== input.defaultValue || whole.has(input.closest("[data-whole]"))) {
      cells.push({ row: Number(input.dataset.row), column: input.dataset.column, is: input.value });
    }
  }
  return cells;
}

function prepareCorrections(run, path) {
  const send = (element) => doing(element, async () => {
    const cells = typedCells(run);
    if (!cells.length) throw new Error("Type over a cell first.");
    await call("POST", `${path}/corrections`, { cells });
    await showAnew();
  });
  for (const button of run.querySelectorAll("[data-correct]")) button.addEventListener("click", () => send(button));
  for (const input of run.querySelectorAll("[data-cell]")) {
    input.addEventListener("input", () => input.classList.toggle("typed", input.value !== input.defaultValue));
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") send(input); });
  }
  for (const button of run.querySelectorAll("[data-same-person]")) {
    button.addEventListener("click", () => doing(button, async () => {
      await call("POST", `${path}/people`, { rows: [Number(button.dataset.samePerson)] });
      await showAnew();
    }));
  }
  find("[data-take-back]", run)?.addEventListener("click", (event) => doing(event.target, async () => {
    await call("DELETE", `${path}/corrections`);
    await showAnew();
  }));
  find("[data-corrections-for]", run)?.addEventListener("click", (event) => doing(event.target, async () => {
    const list = event.target.dataset.correctionsFor;
    await call("POST", `/api/runs/${list}/corrections/from/${run.dataset.id}`);
    location.assign(`/runs/${list}`);
  }));
  find("[data-report]", run)?.addEventListener("change", (event) => doing(event.target, async () => {
    const body = new FormData();
    body.append("roster", event.target.files[0]);
    event.target.value = "";
    const answer = await fetch("/api/runs", { method: "POST", body, headers: { Accept: "application/json" } });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.detail || `The server answered ${answer.status}.`);
    try {
      await call("POST", `${path}/corrections/from/${told.id}`);
    } catch (error) {
      await call("DELETE", `/api/runs/${told.id}`);
      throw error;
    }
    await showAnew();
  }));
}

function prepareRun() {
  const run = find("#run");
  if (!run) return;
  const path = `/api/runs/${run.dataset.id}`;
  for (const form of run.querySelectorAll("form[data-patch]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      doing(form, async () => {
        await call("PATCH", path, fieldsOf(form));
        if ("thenStart" in form.dataset) await call("POST", `${path}/start`);
        await showAnew();
      });
    });
  }
  for (const button of run.querySelectorAll("[data-set]")) {
    button.addEventListener("click", () => doing(button, async () => {
      await call("PATCH", path, JSON.parse(button.dataset.set));
      await showAnew();
    }));
  }
  find("[data-password]", run)?.addEventListener("submit", (event) => {
    event.preventDefault();
    const password = event.target.elements.password.value;
    doing(event.target, async () => {
      await call("POST", `${path}/password`, { password });
      await call("POST", `${path}/start`);
      await showAnew();
    });
  });
  for (const link of run.querySelectorAll('.todo a[href^="#"]')) {
    link.addEventListener("click", () => {
      const card = find(link.getAttribute("href"), run), rows = find("details", card);
      if (rows) rows.open = true;
      setTimeout(() => (find("input", card) || card).focus({ preventScroll: false }));
    });
  }
  prepareCorrections(run, path);
  offerNotice(run);
  for (const button of run.querySelectorAll("[data-decide]")) {
    button.addEventListener("click", () => doing(button, async () => {
      const { decide, column, decided } = button.dataset;
      await call("PATCH", path, { [decide]: [...JSON.parse(decided), column] });
      await showAnew();
    }));
  }
  for (const button of run.querySelectorAll("[data-start]")) {
    button.addEventListener("click", () => doing(button, async () => {
      const limit = button.dataset.limit;
      if (limit !== undefined || run.dataset.state !== "checked") {
        await call("PATCH", path, limit === undefined ? {} : { limit: limit ? Number(limit) : null });
      }
      await call("POST", `${path}/start`);
      await showAnew();
    }));
  }
  for (const button of run.querySelectorAll("[data-post]")) {
    button.addEventListener("click", () => doing(button, async () => {
      await call("POST", `${path}/${button.dataset.post}`);
      if (button.dataset.post === "stop" && run.dataset.state === "running") { find("#hint").textContent = "Stopping…"; say("Stopping."); }
      else await showAnew();
    }));
  }
  for (const button of run.querySelectorAll("[data-again]")) {
    button.addEventListener("click", () => doing(button, async () => {
      const again = await call("POST", `${path}/again`, {});
      location.assign(`/runs/${again.id}`);
    }));
  }
  for (const form of run.querySelectorAll("form[data-ask]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      doing(form, async () => {
        const days = form.elements.after_days;
        await call("POST", `${path}/status`, days ? { reminder: true, after_days: Number(days.value) } : {});
        await showAnswers();
      });
    });
  }
  if (find("[data-asking]", run)) waitForAnswers(path);
  find("[data-delete]", run).addEventListener("click", (event) => doing(event.target, async () => {
    await call("DELETE", path);
    location.assign("/");
  }));
  if (run.dataset.state === "waiting" || run.dataset.state === "running") follow(path, run.dataset.state);
}

async function showAnswers() {
  await showAnew();
  find("#answers-title")?.scrollIntoView({ block: "nearest" });
}

async function waitForAnswers(path) {
  try {
    const run = await call("GET", path);
    if (run.status?.state !== "running") { await showAnswers(); return; }
  } catch { /* the next time may do */ }
  setTimeout(() => { if (find("[data-asking]")) waitForAnswers(path); }, LOOK_EVERY_MS);
}

let stream;
function follow(path, state) {
  stream?.close();
  stream = new EventSource(`${path}/events`);
  let told = 0, place = null;
  stream.addEventListener("message", (event) => {
    const run = JSON.parse(event.data);
    find("#trouble").hidden = true;
    lost(null);
    if (run.state !== state || (state === "waiting" && place !== null && place !== run.place)) {
      stream.close();
      showAnew().catch((error) => trouble(error.message));
      return;
    }
    place = run.place;
    if (state === "running") {
      progress(run);
      titleOf(find("#run"), `${number.format(run.done)} of ${number.format(run.total)}`);
      const quarter = Math.floor(4 * run.done / (run.total || 1));
      if (quarter > told) { told = quarter; say(`${number.format(run.done)} of ${number.format(run.total)} done.`); }
    }
  });
  stream.addEventListener("gone", () => location.assign("/"));
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { if (find("#run")) follow(path, state); }, LOOK_EVERY_MS);
  });
}

function progress(run) {
  const bar = find("#bar");
  bar.max = run.total || 1;
  bar.value = run.done;
  find("#done").textContent = number.format(run.done);
  find("#total").textContent = number.format(run.total);
  find("#linked").textContent = number.format(run.linked);
  find("#rate").textContent = run.rate === null ? "–" : number.format(run.rate < 10 ? Math.round(run.rate * 10) / 10 : Math.round(run.rate));
  find("#left").textContent = run.seconds_left === null ? "–" : duration(run.seconds_left);
}

function duration(seconds) {
  if (seconds < 10) return "seconds";
  if (seconds < 90) return `${Math.round(seconds / 10) * 10} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 1800) / 2} h`;
}

function prepare() {
  localTimes(document);
  prepareRun();
}

addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });  // back to what has changed since
prepareHome();
prepare();
setTimeout(lookAfterServer, LOOK_EVERY_MS);

export { call, find, localTimes, say };  // for patient.js
