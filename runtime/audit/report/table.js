'use strict';
// Tables that can be searched and sorted. All text goes into the page as text nodes: the report is
// full of names that somebody else chose.

function element(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const number = (n) => n.toLocaleString('en');

function span(ns) {
  if (ns < 1e3) return ns + ' ns';
  if (ns < 1e6) return (ns / 1e3).toFixed(1) + ' \u00b5s';
  if (ns < 1e9) return (ns / 1e6).toFixed(1) + ' ms';
  if (ns < 60e9) return (ns / 1e9).toFixed(2) + ' s';
  if (ns < 3600e9) return Math.floor(ns / 60e9) + ' min ' + Math.round((ns % 60e9) / 1e9) + ' s';
  return Math.floor(ns / 3600e9) + ' h ' + Math.round((ns % 3600e9) / 60e9) + ' min';
}

const offset = (ns) => '+' + span(ns);

// Formats: how a value is shown. A column is [title, format]; `tree` indents by the row's depth.
const formats = {
  text: (value) => ({ text: String(value) }),
  count: (value) => ({ text: value === 0 ? '' : number(value), right: true }),
  number: (value) => ({ text: number(value), right: true }),
  id: (value) => ({ text: String(value), right: true }),
  span: (value) => ({ text: span(value), right: true }),
  offset: (value) => ({ text: offset(value), right: true }),
};

class SearchTable {
  static firstRows = 50;

  // columns: [{title, format, index, depth}], rows: arrays, all: how many there were in the log.
  constructor(section, { name, columns, rows, all, note, accept }) {
    Object.assign(this, { section, name, columns, rows, all, note, accept });
    this.shown = SearchTable.firstRows;
    this.words = [];
    this.sortColumn = -1;
    this.descending = false;
    this.order = rows.map((_, i) => i);
    this.status = element('p', { className: 'status', role: 'status' });
    this.body = element('tbody');
    this.more = element('button', {
      type: 'button', className: 'more', onclick: () => this.showMore(),
    });
    this.heads = columns.map((column, i) => this.head(column, i));
    const table = element('table', {},
      element('caption', { className: 'unseen' }, name),
      element('thead', {}, element('tr', {}, ...this.heads)), this.body);
    this.frame = element('div', {
      className: 'frame', tabIndex: 0, role: 'region', 'aria-label': name,
    }, table);
    section.append(this.status, this.frame, this.more);
    this.find();
  }

  head(column, i) {
    const right = column.format !== 'text' && column.format !== 'tree';
    return element('th', { scope: 'col', className: right ? 'right' : '' },
      element('button', { type: 'button', onclick: () => this.sort(i) }, column.title));
  }

  // Lower-case text of a row, made when first asked for.
  textOf(i) {
    this.texts ||= new Array(this.rows.length);
    return this.texts[i] ||= this.columns
      .map((column) => {
        const value = this.rows[i][column.index];
        return column.format in formats ? formats[column.format](value).text : value;
      })
      .concat(this.name).join('\n').toLowerCase();
  }

  search(words) {
    this.words = words;
    this.find();
  }

  find() {
    this.shown = SearchTable.firstRows;
    this.found = this.order.filter((i) =>
      (!this.accept || this.accept(this.rows[i])) &&
      this.words.every((word) => this.textOf(i).includes(word)));
    this.draw();
  }

  sort(i) {
    // Numbers begin with the largest; a third press gives the order of the log again.
    const first = typeof (this.rows[0] || [''])[this.columns[i].index] === 'number';
    if (this.sortColumn !== i) [this.sortColumn, this.descending] = [i, first];
    else if (this.descending === first) this.descending = !first;
    else this.sortColumn = -1;
    this.order = this.rows.map((_, k) => k);
    if (this.sortColumn >= 0) {
      const index = this.columns[i].index, sign = this.descending ? -1 : 1;
      this.order.sort((a, b) => {
        const left = this.rows[a][index], right = this.rows[b][index];
        return (left < right ? -sign : left > right ? sign : 0) || a - b;
      });
    }
    this.heads.forEach((head, k) => {
      if (k === this.sortColumn)
        head.setAttribute('aria-sort', this.descending ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    this.find();
  }

  cell(column, row) {
    const value = row[column.index];
    if (column.format === 'tree') {
      const cell = element('td', { className: 'name' }, element('bdi', {}, value));
      // A tree that is sorted or searched is a list.
      if (this.sortColumn < 0 && this.words.length === 0)
        cell.style.paddingInlineStart = 0.6 + 1.1 * row[column.depth] + 'rem';
      return cell;
    }
    const { text, right } = formats[column.format](value);
    const bad = column.bad && text !== '';
    return element('td', { className: (right ? 'right' : 'name') + (bad ? ' bad' : '') },
      right ? text : element('bdi', {}, text));
  }

  draw() {
    const rows = this.found.slice(0, this.shown);
    this.body.replaceChildren(...rows.map((i) =>
      element('tr', {}, ...this.columns.map((column) => this.cell(column, this.rows[i])))));
    const filtered = this.found.length !== this.rows.length;
    let text = filtered ? `${number(this.found.length)} of ${number(this.rows.length)} rows match`
                        : `${number(this.rows.length)} row${this.rows.length === 1 ? '' : 's'}`;
    if (this.all > this.rows.length)
      text += `; the log has ${number(this.all)}, of which these are ${this.note}`;
    const left = this.found.length - rows.length;
    // Paper has no button: what is not shown is said.
    if (left > 0) text += `; the first ${number(rows.length)} are shown`;
    this.status.textContent = text;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show ${number(Math.min(left, 500))} more (${number(left)} left)`;
    this.frame.hidden = this.rows.length === 0;
  }

  showMore() {
    this.shown += 500;
    this.draw();
  }
}
