// SPDX-License-Identifier: Apache-2.0
// Asks for the state twice a second, and shows it.  All values are put into
// the page as text.
"use strict";

const INTERVAL = 500; // milliseconds
const PATIENCE = 10000;

const place = (id) => document.getElementById(id);

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function heading(name, note, scope) {
  const cell = element("th", name);
  cell.scope = scope;
  cell.append(element("small", note));
  return cell;
}

function row(...cells) {
  const made = element("tr");
  made.append(...cells);
  return made;
}

function head(callers) {
  const made = element("thead");
  const names = callers.map((each) => heading(each.name, each.note, "col"));
  made.append(row(element("th"), ...names));
  return made;
}

function size(seen) {
  if (seen === null) return element("td", "hidden", "hidden");
  if (!("size" in seen)) return element("td", "no size", "allowed");
  const mebibytes = seen.size / 2 ** 20;
  const text = mebibytes < 1024
    ? `${Math.round(mebibytes)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
  return element("td", text, "allowed");
}

function showImages(state) {
  const body = element("tbody");
  for (const image of state.images) {
    const name = heading(image.name, image.note, "row");
    body.append(row(name, ...image.seen.map(size)));
  }
  place("images").replaceChildren(head(state.callers), body);
}

// What names a cell in all states.
const key = (action, caller) =>
  JSON.stringify([action.rule, action.image, caller.name]);

function outcomes(state) {
  const found = new Map();
  for (const action of state.actions)
    state.callers.forEach((caller, number) =>
      found.set(key(action, caller), action.outcomes[number]));
  return found;
}

// Shows the actions, and returns a line for each cell that has changed.
function showActions(state, before) {
  const body = element("tbody");
  const lines = [];
  let group;
  for (const action of state.actions) {
    const about = action.image
      ? `${action.image.name} (${action.image.note})` : "";
    if (about && about !== group) {
      const title = element("th", about);
      title.colSpan = state.callers.length + 1;
      const line = row(title);
      line.className = "group";
      body.append(line);
    }
    group = about;
    const cells = state.callers.map((caller, number) => {
      const now = action.outcomes[number];
      const then = before.get(key(action, caller)) ?? now;
      const cell = element("td", now, now);
      if (now !== then) {
        const change = now === "allowed" ? "more" : "less";
        cell.classList.add(change);
        cell.title = `was ${then}`;
        const subject = action.image ? ` (${action.image.name})` : "";
        const does = action.does.replace(/\.$/, "");
        lines.push(element("li",
          `${caller.name}: ${does}${subject} is ${now}, was ${then}`, change));
      }
      return cell;
    });
    const rule = action.rule.replace("os_compute_api:", "");
    body.append(row(heading(action.does, rule, "row"), ...cells));
  }
  place("actions").replaceChildren(head(state.callers), body);
  return lines;
}

// The numbers of the lines that messages "FILE:LINE: PROBLEM" name.
function mistakes(state) {
  return [state.problem, ...state.warnings]
    .filter((message) => message?.startsWith(`${state.file}:`))
    .map((message) => parseInt(message.slice(state.file.length + 1), 10));
}

function showFile(state) {
  const marked = mistakes(state);
  const lines = state.text.trimEnd().split("\n");
  place("text").replaceChildren(...lines.map((line, index) =>
    element("li", line, marked.includes(index + 1) ? "mistake" : "")));
}

function headline(text, kind, problem = "", lines = []) {
  place("state").className = kind;
  place("headline").textContent = text;
  place("problem").textContent = problem;
  place("changes").replaceChildren(...lines);
}

let shown = null; // the text of the state that is shown
let before = null; // outcomes by cell, when the page was opened

function show(text) {
  if (text === shown) return;
  shown = text;
  const state = JSON.parse(text);
  before ??= outcomes(state);
  place("file").textContent = state.file;
  showImages(state);
  const lines = showActions(state, before);
  showFile(state);
  const count = lines.length === 1 ? "1 cell" : `${lines.length} cells`;
  if (state.problem)
    headline("The file is not in effect: the last good rules stay",
      "problem", state.problem, lines);
  else if (lines.length)
    headline(`The rules are in effect: ${count} changed since you opened this page`,
      "changed", state.warnings.join("\n"), lines);
  else
    headline("The rules are in effect: nothing changed since you opened this page",
      "", state.warnings.join("\n"));
}

async function ask() {
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch("/demo/state", { signal });
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.text());
  } catch (error) {
    shown = null;
    headline("The demonstration does not answer", "problem", error.message);
  }
  setTimeout(ask, INTERVAL);
}

ask();
