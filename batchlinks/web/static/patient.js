// Looking up one patient. The ID is sent in the body of a call, and is in no address.

import { call, find, localTimes, say } from "./page.js";

const HELD_BACK = {
  do_not_contact: "Not to be contacted, so the link isn't offered for sending. A link already sent still works.",
  withdrawn: "Withdrawn, so the link isn't offered for sending. A link already sent still works.",
  exposed: "This link went to somebody else, so it isn't offered for sending. It still works: follow the incident steps, or ask IT.",
};

function made(tag, text = "", more = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...more });
}

function day(moment) {
  return moment ? made("time", moment, { dateTime: moment }) : "not yet";
}

function line(words, ...parts) {
  const paragraph = made("p");
  paragraph.append(made("strong", `${words}: `), ...parts);
  return paragraph;
}

function linkOf(project) {
  if (project.held_back) return made("p", HELD_BACK[project.held_back]);
  const row = made("p", "", { className: "inline" });
  const shown = made("input", "", { value: project.link, readOnly: true, size: 60, ariaLabel: `Link for ${project.project}` });
  const button = made("button", "Copy", { type: "button", className: "button small", ariaLabel: `Copy the link for ${project.project}` });
  button.addEventListener("click", async () => {
    const copied = await Promise.resolve().then(() => navigator.clipboard.writeText(project.link)).then(() => true, () => false);
    if (!copied) shown.select();
    else Object.assign(button, { textContent: "Copied", ariaLabel: `Copied the link for ${project.project}` });
    say(copied ? "The link is copied." : "The link is selected. Copy it with the keyboard.");
  });
  row.append(shown, button);
  return row;
}

function filesOf(project) {
  if (!project.files.length) return line("Files", "none");
  const list = made("ul", "", { className: "plain" });
  for (const file of project.files) {
    const item = made("li", `${file.name}, row ${file.row} of its list, `);
    item.append(day(file.placed_at), file.replaced_at ? " (replaced since)" : "", file.folder ? `, in ${file.folder}` : "");
    list.append(item);
  }
  const block = made("div");
  block.append(line("Files"), list);
  return block;
}

function partsOf(project) {
  const answered = project.response ? [`${project.response}, on `, day(project.response_on)] : ["not asked yet"];
  return [
    made("h4", project.project), linkOf(project), line("Created", day(project.issued_at)), line("Handed out", day(project.handed_out_at)),
    line("Response", ...answered), filesOf(project),
  ];
}

function othersOf(alike) {
  if (!alike.length) return [];
  const row = made("p", "Other IDs that differ only in capital letters or leading zeros: ", { className: "inline" });
  row.append(...alike.map((id) => {
    const button = made("button", id, { type: "button", className: "button small" });
    button.addEventListener("click", () => { find("#patient-id").value = id; find("#look-up").requestSubmit(); });
    return button;
  }));
  return [row];
}

function show(heading, ...parts) {
  const found = find("#patient-found"), title = made("h3", heading, { tabIndex: -1 });
  found.replaceChildren(title, ...parts);
  found.hidden = false;
  localTimes(found);
  title.focus();
}

function leftAlone(entry) {
  return line("Do not contact", [`since ${entry.since || "a day unknown"}`, entry.reason, entry.by && `by ${entry.by}`].filter(Boolean).join(", "));
}

function withdrawal(entry) {
  return line("Withdrawn", entry.project ? `in ${entry.project}, ` : "in every project, ", day(entry.withdrawn_at));
}

let asked = "";

async function lookUp(id) {
  const whether = find("#leave-alone");
  asked = id;
  whether.reset();
  whether.hidden = true;
  find("#patient-found").hidden = true;
  try {
    const known = await call("POST", "/api/patients/lookup", { id });
    if (asked !== id) return;
    whether.hidden = Boolean(known.do_not_contact);
    show(
      `Patient ${id}`, ...(known.do_not_contact ? [leftAlone(known.do_not_contact)] : []), ...known.withdrawn.map(withdrawal),
      ...known.projects.flatMap(partsOf), ...(known.projects.length ? [] : [made("p", "No link.")]), ...othersOf(known.alike),
    );
  } catch (error) {
    if (asked !== id) return;
    whether.hidden = error.told?.alike === undefined;  // somebody who is not known so far may say no too
    show(error.message, ...othersOf(error.told?.alike || []));
  }
}

find("#look-up").addEventListener("submit", (event) => {
  event.preventDefault();
  lookUp(find("#patient-id").value.trim());
});

find("#leave-alone").addEventListener("submit", async (event) => {
  event.preventDefault();
  const id = asked, reason = find("#leave-alone-why").value;
  try {
    await call("POST", "/api/patients/do-not-contact", { id, reason });
    await lookUp(id);
    say("This patient is not contacted any more. A link already sent still works.");
  } catch (error) {
    show(error.message);
  }
});
