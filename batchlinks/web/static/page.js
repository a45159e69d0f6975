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
    throw new Error("We can't reach the server. Check that it's still running.");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  if (answer.status === 401) throw new Error("You've been signed out. Open the link from IT again.");
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.detail || `The server answered ${answer.status}.`);
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
    else refused(file, told.detail || `The server answered ${request.status}.`, told.asks, told.sheets);
  });
  request.addEventListener("error", () => refused(file, "The upload failed. Check that the server is running and that the file hasn't changed, then choose it again."));
  request.open("POST", "/api/runs");
  request.setRequestHeader("Accept", "application/json");
  request.send(body);
}

function refused(file, why, asks, sheets) {
  find("#uploading").hidden = true;
  find("#upload").hidden = false;
  find("#roster").value = "";
  const card = find("#refused"), choices = find("#sheets");
  find("#refused-title").textContent = sheets ? "Which sheet is the patient list?" : "We can't read this list yet";
  find("#refused-why").textContent = sheets ? "Several sheets of this workbook could be it." : why;
  card.classList.toggle("bad", !sheets);
  choices.hidden = !sheets;
  const retry = find("#retry");
  retry.hidden = asks !== "column" && asks !== "tables";
  retry.onsubmit = (event) => {
    event.preventDefault();
    upload(file, Object.fromEntries(Array.from(new FormData(retry)).filter(([, value]) => value !== "")));
  };
  choices.replaceChildren(...(sheets || []).map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = name;
    button.addEventListener("click", () => upload(file, { sheet: name }));
    return button;
  }));
  card.hidden = false;
  card.focus();
  card.scrollIntoView({ block: "nearest" });
}

function keepHistory() {
  if (!find("#history[data-live]")) return;
  setTimeout(async () => {
    try {
      const fresh = document.hidden ? null : await partOf("/", "#history");
      const old = find("#history");
      if (fresh && !old.contains(document.activeElement)) { old.replaceWith(fresh); localTimes(fresh); }
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
  for (const control of form.elements) {
    if (!control.name || "listed" in control.dataset) continue;
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

function prepareRun() {
  const run = find("#run");
  if (!run) return;
  const path = `/api/runs/${run.dataset.id}`;
  for (const form of run.querySelectorAll("form[data-patch]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      doing(form, async () => { await call("PATCH", path, fieldsOf(form)); await showAnew(); });
    });
  }
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
    button.addEventListener("click", () => doing(button, async () => { await call("PATCH", path, {}); await showAnew(); }));
  }
  find("[data-delete]", run).addEventListener("click", (event) => doing(event.target, async () => {
    await call("DELETE", path);
    location.assign("/");
  }));
  if (run.dataset.state === "waiting" || run.dataset.state === "running") follow(path, run.dataset.state);
}

let stream;
function follow(path, state) {
  stream?.close();
  stream = new EventSource(`${path}/events`);
  let told = 0, place = null;
  stream.addEventListener("message", (event) => {
    const run = JSON.parse(event.data);
    find("#trouble").hidden = true;
    if (run.state !== state || (state === "waiting" && place !== null && place !== run.place)) {
      stream.close();
      showAnew().catch((error) => trouble(error.message));
      return;
    }
    place = run.place;
    if (state === "running") {
      progress(run);
      const quarter = Math.floor(4 * run.done / (run.total || 1));
      if (quarter > told) { told = quarter; say(`${number.format(run.done)} of ${number.format(run.total)} done.`); }
    }
  });
  stream.addEventListener("gone", () => location.assign("/"));
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) {
      trouble("Connection lost. The run continues; reload this page to see it.");
    }
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
