// The table of runs: a row for all seeds of one point of the grid, sorted by a click on a column, single runs unfolded by a click on their number.

const DEFAULT_COLUMNS = ["fvu", "l0", "dead_fraction", "parameters"];

const metricColumns = (data.page.columns.length > 0 ? data.page.columns : DEFAULT_COLUMNS).filter((name) => !differingNames.includes(name));
const columns = [...differingNames, ...metricColumns];
const order = {column: null, down: false};
const unfolded = new Set();

const numbersOf = (group, name) => group.map((run) => valueOf(run, name)).filter(isNumber);

// What a row stands for in a column: the mean of numbers, else the text that all its runs share.
function groupValue(group, name) {
  const numbers = numbersOf(group, name);
  return numbers.length > 0 ? mean(numbers) : valueOf(group[0], name);
}

function groupText(group, name) {
  const numbers = numbersOf(group, name);
  if (isSetting(name) || numbers.length === 0) return textOf(valueOf(group[0], name));
  return meanText(numbers) + (numbers.length < group.length ? " (of " + numbers.length + ")" : "");
}

// Rows without a value come last, whatever the order.
function compare(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const direction = order.down ? -1 : 1;
  if (isNumber(a) && isNumber(b)) return direction * (a - b);
  return direction * String(a).localeCompare(String(b), "en");
}

function sortedGrid() {
  if (order.column === null) return grid;
  return [...grid].sort((a, b) => compare(groupValue(a, order.column), groupValue(b, order.column)));
}

function row(className, label, texts) {
  const made = element("tr", className);
  const head = element("th");
  head.scope = "row";
  head.append(label);
  made.append(head, ...texts.map((text) => element("td", text === "–" ? "faint" : "", text)));
  return made;
}

function groupLabel(group) {
  if (group.length === 1) return element("span", "", group[0].name);
  const open = unfolded.has(group);
  const button = element("button", "fold", (open ? "▾ " : "▸ ") + group.length + " seeds");
  button.type = "button";
  button.setAttribute("aria-expanded", String(open));
  button.addEventListener("click", () => {
    if (!unfolded.delete(group)) unfolded.add(group);
    fillRows();
  });
  return button;
}

function fillRows() {
  byId("numbers").tBodies[0].replaceChildren(...sortedGrid().flatMap((group) => {
    const rows = [row("group", groupLabel(group), [String(group.length), ...columns.map((name) => groupText(group, name))])];
    if (unfolded.has(group)) {
      rows.push(...group.map((run) => row("single", element("span", "", run.name), ["", ...columns.map((name) => textOf(valueOf(run, name)))])));
    }
    return rows;
  }));
  for (const head of byId("numbers").tHead.querySelectorAll("th[data-column]")) {
    head.setAttribute("aria-sort", head.dataset.column !== order.column ? "none" : order.down ? "descending" : "ascending");
    head.querySelector(".mark").textContent = head.dataset.column !== order.column ? "" : order.down ? " ↓" : " ↑";
  }
}

function fillTable() {
  const heads = columns.map((name) => {
    const head = element("th");
    head.dataset.column = name;
    const button = element("button", "", name);
    button.type = "button";
    button.append(element("span", "mark"));
    button.addEventListener("click", () => {
      order.down = order.column === name && !order.down;
      order.column = name;
      fillRows();
    });
    head.append(button);
    return head;
  });
  const line = element("tr");
  line.append(element("th", "", "run"), element("th", "", "n"), ...heads);
  const head = element("thead");
  head.append(line);
  byId("numbers").append(head, element("tbody"));
  fillRows();
}
