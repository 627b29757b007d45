/** Tables of systems side by side: as text for the terminal, as Markdown for the documents. */

/**
 * `columns`: `{ key, name, ratio, digits }`; `lines`: `{ system, store, asked, rounds, values, floor }`, where `values` has a
 * summary a column, and `floor` names the line that the ratio is to.
 */
export function table(id, title, columns, lines) {
  return { id, title, columns, lines };
}

const number = (value, digits) =>
  value.toLocaleString('en', {
    maximumFractionDigits: digits,
    minimumFractionDigits: value < 10 ? digits : 0,
  });

function cell(summary, { digits = 0 }) {
  if (summary === undefined) return '–';
  const { median, min, max } = summary;
  const middle = number(median, digits);
  return min === max ? middle : `${middle} (${number(min, digits)}–${number(max, digits)})`;
}

function ratioOf({ lines }, line, { key }) {
  const floor = lines.find(({ system }) => system === line.floor)?.values[key];
  const own = line.values[key];
  if (floor === undefined || own === undefined) return '';
  const ratio = own.median / floor.median;
  return ratio >= 10 ? ratio.toFixed(0) : ratio.toPrecision(2);
}

function markdown(head, body) {
  const text = (cells) => `| ${cells.join(' | ')} |`;
  return [text(head), text(head.map((_, at) => (at === 0 ? '---' : '--:'))), ...body.map(text)].join('\n');
}

/** The figures: medians with lowest and highest, and ratios to each line's floor. */
export function figures(given) {
  const { columns, lines, title } = given;
  const head = [
    title,
    ...columns.flatMap((column) => (column.ratio ? [column.name, '× floor'] : [column.name])),
  ];
  const body = lines.map((line) => [
    line.system,
    ...columns.flatMap((column) => {
      const own = cell(line.values[column.key], column);
      return column.ratio ? [own, ratioOf(given, line, column)] : [own];
    }),
  ]);
  return markdown(head, body);
}

/** What each of them was asked to do, and where it kept it. */
export function questions({ lines }) {
  const head = ['system', 'what it is asked to do', 'durability', 'rounds'];
  const body = lines.map(({ system, asked, store, rounds }) => [system, asked, store, String(rounds)]);
  const text = (cells) => `| ${cells.join(' | ')} |`;
  return [text(head), text(['---', '---', '---', '--:']), ...body.map(text)].join('\n');
}
