// The report: one section after the other, from the data that carrel wrote into the page.

const report = JSON.parse(document.getElementById('report').textContent);
const main = document.getElementById('main');
const tables = [];

function section(id, title, introduction) {
  const made = element('section', { id, 'aria-labelledby': id + '-title' },
    element('h2', { id: id + '-title' }, title));
  if (introduction) made.append(element('p', { className: 'about' }, introduction));
  main.append(made);
  document.getElementById('contents').append(
    element('li', {}, element('a', { href: '#' + id }, title)));
  return made;
}

function addTable(place, name, columns, data, more) {
  const table = new SearchTable(place, {
    name, rows: data.rows, all: data.all,
    columns: columns.map(([title, format, index, extra]) => ({ title, format, index, ...extra })),
    note: 'the ones that matter most', ...more,
  });
  tables.push(table);
  return table;
}

// The members of the first record of a kind, or {}.
const record = (kind) => (report.records.find((one) => one.kind === kind) || {}).members || {};

function shown(value) {
  if (value === null || value === undefined || value === '') return '\u2013';
  if (value === true) return 'yes';
  if (value === false) return 'no';
  if (Array.isArray(value)) return value.map(shown).join(', ') || '\u2013';
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}

function facts(place, title, pairs) {
  if (pairs.every(([, value]) => value === undefined)) return;
  const list = element('dl');
  for (const [name, value] of pairs) {
    if (value === undefined) continue;
    list.append(element('div', {}, element('dt', {}, name),
      element('dd', {}, element('bdi', {}, shown(value)))));
  }
  place.append(element('div', { className: 'facts' }, element('h3', {}, title), list));
}

function header() {
  const { verdict, counts } = report;
  const job = record('decision').job || {};
  const whole = verdict.finding === 'whole';
  document.getElementById('job').textContent = report.job;
  const names = [job.workspace, job.action].filter(Boolean).join(' / ');
  document.getElementById('about').textContent = [
    names, new Date(report.start_ns / 1e6).toISOString().replace('T', ' ').slice(0, 19) + ' UTC',
    span(report.end_ns - report.start_ns),
  ].filter(Boolean).join(' \u00b7 ');
  const badge = document.getElementById('verdict');
  badge.textContent = whole ? 'log whole, signature good' : 'log ' + verdict.finding
    + (verdict.finding === 'truncated' ? ': it ends early' : '');
  badge.className = whole ? 'badge good' : 'badge alarm';
  const cards = [['calls', counts.calls], ['with an error', counts.errors],
    ['denied', counts.denied], ['processes', counts.processes], ['files', counts.files],
    ['held', counts.stops]];
  document.getElementById('cards').append(...cards.map(([name, n]) =>
    element('div', { className: 'card' + (name === 'denied' && n > 0 ? ' alarm' : '') },
      element('b', {}, number(n)), element('span', {}, name))));
}

function findings() {
  const place = section('unusual', 'Unusual things first');
  if (report.findings.length === 0)
    place.append(element('p', {}, 'Nothing that this report looks for was found.'));
  const list = element('ol', { className: 'findings' });
  const levels = ['alarm', 'look', 'note'], words = ['Alarm', 'Look at it', 'Note'];
  for (const finding of report.findings) {
    const count = finding.count > 0 ? ` (${number(finding.count)})` : '';
    const item = element('li', { className: levels[finding.level] },
      element('span', { className: 'level' }, words[finding.level]),
      element('strong', {}, finding.title + count),
      finding.detail ? element('p', {}, element('bdi', {}, finding.detail)) : null);
    if (finding.find)
      item.append(element('button', {
        type: 'button', onclick: () => searchFor(finding.find),
      }, 'Find them below'));
    list.append(item);
  }
  place.append(list);
}

function permissions() {
  const place = section('ran', 'What ran, under which permissions');
  const { job = {}, decision = {} } = record('decision');
  const image = record('image'), code = record('code'), start = record('start'), end = record('end');
  const run = record('exec');
  const columns = element('div', { className: 'columns' });
  place.append(columns);
  // Of a refused job there is no more than what was asked for.
  facts(columns, decision.allowed === false ? 'What was asked for' : 'What ran', [
    ['Job', report.job], ['Project', decision.project], ['Workspace', job.workspace],
    ['Action', job.action], ['User', job.user], ['Role', decision.role],
    ['Command', job.args ? job.args.join(' ') : run.argv && run.argv.join(' ')],
    ['Repository', code.repo_url || job.repo_url], ['Commit', code.commit || job.commit],
    ['Tree', code.tree], ['Image', image.name || job.image || run.image],
    ['Image digest', image.digest], ['Exit status', end.exit_code],
  ]);
  facts(columns, 'Permissions', [
    ['Allowed', decision.allowed], ['Tool', decision.tool],
    ['Database', decision.allowed === undefined ? undefined
      : decision.database ? decision.database.name : 'none'],
    ['Type-one opt-outs', decision.opt_outs], ['ehrQL permissions', decision.ehrql_permissions],
    ['Output levels', decision.levels], ['Seccomp profile', decision.seccomp_profile],
    ['Reasons', decision.reasons], ['Policy digest', decision.policy_digest],
    ['Policy commit', decision.policy_commit],
  ]);
  const { verdict } = report;
  facts(columns, 'The log', [
    ['Verification', verdict.finding], ['Why', verdict.why || undefined],
    ['Hash of the last block', verdict.head], ['Blocks', verdict.blocks],
    ['Bytes', number(verdict.bytes)], ['Rows', number(report.counts.rows)],
    ['Public record', verdict.public_index === null ? 'none' : 'number ' + verdict.public_index],
    ['Event source', start.event_source], ['Plan digest', start.plan_digest],
    ['Seccomp digest', start.seccomp_digest],
  ]);
}

function outputs() {
  const files = record('outputs').files || [];
  if (files.length === 0) return;
  const place = section('outputs', 'Outputs');
  addTable(place, 'Outputs', [['path', 'text', 0], ['level', 'text', 1], ['bytes', 'number', 2],
    ['withheld because', 'text', 3, { bad: true }], ['SHA-256', 'text', 4]],
  { rows: files.map((f) => [f.path, f.level, f.size, f.withheld, f.sha256]), all: files.length });
}

function activity() {
  const place = section('time', 'Time line',
    'Calls by kind. Drag over a part to enlarge it; the sample of events at the end follows. ' +
    'Red marks: denied calls.');
  new TimeLine(place, report.time_line, (range) => {
    if (!events) return;
    events.accept = range && ((row) => row[0] >= range[0] && row[0] <= range[1]);
    events.find();
  });
}

const deedColumns = (what) => [[what, 'text', 0], ['result', 'text', 1, { bad: true }],
  ['times', 'number', 2], ['command', 'text', 3], ['pid', 'id', 4], ['first', 'offset', 5]];

function lists() {
  addTable(section('denied', 'Denied calls', 'What the seccomp filter refused, with arguments.'),
    'denied', deedColumns('call'), report.denied);
  addTable(section('processes', 'Processes'), 'Processes', [
    ['program', 'tree', 2, { depth: 0 }], ['pid', 'id', 1], ['end', 'text', 3],
    ['start', 'offset', 4], ['lived', 'span', 5], ['threads', 'number', 6],
    ['calls', 'number', 7], ['errors', 'count', 8], ['denied', 'count', 9, { bad: true }],
  ], report.processes, { note: 'the first' });
  addTable(section('files', 'Files', 'Opened files as the kernel had them, and names as claimed ' +
    'where an open failed or a name was made, moved or removed. Those written come first. ' +
    'Names that were only looked up (stat, access) are what \'carrel audit query\' shows.'), 'Files', [
    ['path', 'text', 0], ['written', 'count', 1], ['changed', 'count', 2], ['read', 'count', 3],
    ['failed', 'count', 4], ['last error', 'text', 5], ['first by', 'text', 6],
    ['first', 'offset', 7]], report.files);
  const programs = { ...report.programs, rows: report.programs.rows.map((row) => [
    ...row[0].split('\n'), row[2], row[3], row[4], row[5], row[6]]) };
  addTable(section('programs', 'Programs'), 'Programs', [
    ['file', 'text', 0], ['arguments', 'text', 1], ['times', 'number', 2], ['first', 'offset', 5],
    ['SHA-256', 'text', 6]], programs);
  const connections = { ...report.connections, rows: report.connections.rows.map((row) => {
    const [call, ...rest] = row[0].split(' ');
    return [call, rest.slice(0, -1).join(' '), row[1] === 'ok' ? '' : row[1], ...row.slice(2)];
  }) };
  addTable(section('connections', 'Connections'), 'Connections', [
    ['call', 'text', 0], ['address', 'text', 1], ['error', 'text', 2, { bad: true }],
    ['times', 'number', 3], ['command', 'text', 4], ['pid', 'id', 5], ['first', 'offset', 6],
  ], connections);
}

function database() {
  const rows = report.database.map((one) => {
    const { connection = 0, statement = 0, text, how, tag, rows: count = 0, error = '',
      ...rest } = one.members;
    return [one.at, one.kind, connection, statement, text || JSON.stringify(rest), how || '',
      tag || '', count, error];
  });
  const place = section('database', 'Database',
    rows.length === 0 ? 'No connection went through the gateway to a database.' : '');
  if (rows.length === 0) return;
  addTable(place, 'Database', [['when', 'offset', 0], ['record', 'text', 1],
    ['connection', 'id', 2], ['statement', 'id', 3], ['text', 'text', 4], ['how', 'text', 5],
    ['answer', 'text', 6], ['rows', 'count', 7], ['error', 'text', 8, { bad: true }]],
  { rows, all: rows.length + report.database_left_out }, { note: 'the first' });
}

let events = null;

function details() {
  addTable(section('syscalls', 'System calls'), 'System calls', [
    ['name', 'text', 0], ['calls', 'number', 1], ['errors', 'count', 2],
    ['denied', 'count', 3, { bad: true }], ['time in calls', 'span', 4]], report.syscalls);
  const place = section('records', 'Records', 'What carrel itself wrote down, in full.');
  for (const one of report.records)
    place.append(element('details', {}, element('summary', {}, `${one.kind} ${offset(one.at)}`),
      element('pre', {}, JSON.stringify(one.members, null, 2))));
  events = addTable(section('events', 'Events: a sample',
    'The first and the last, denied calls, starts and ends of processes, some errors, and an even ' +
    'sample of the rest. \'carrel audit query\' has them all.'), 'events', [
    ['when', 'offset', 0], ['tid', 'id', 2], ['command', 'text', 3], ['kind', 'text', 5],
    ['what', 'text', 6], ['error', 'text', 7, { bad: true }], ['took', 'span', 8]],
  report.events, { note: 'a sample' });
}

const box = document.getElementById('search');
let waiting = 0;

function searchNow() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const table of tables) table.search(words);
  const found = tables.reduce((sum, table) => sum + table.found.length, 0);
  document.getElementById('found').textContent =
    words.length === 0 ? '' : `${number(found)} rows in all tables`;
}

function searchFor(text) {
  box.value = text;
  searchNow();
  const first = tables.find((table) => table.found.length > 0);
  if (first) first.section.scrollIntoView();
  box.focus({ preventScroll: true });
}

function start() {
  header();
  findings();
  permissions();
  outputs();
  activity();
  lists();
  database();
  details();
  box.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(searchNow, 120);
  });
  addEventListener('keydown', (event) => {
    const typing = event.target.matches && event.target.matches('input, textarea');
    if (event.key === '/' && !typing) {
      box.focus();
      event.preventDefault();
    } else if (event.key === 'Escape' && event.target === box) {
      box.value = '';
      searchNow();
    }
  });
  // Paper has no buttons: what is folded is printed open.
  addEventListener('beforeprint', () =>
    document.querySelectorAll('#records details').forEach((one) => { one.open = true; }));
  document.documentElement.dataset.ready = 'yes';
}

start();
