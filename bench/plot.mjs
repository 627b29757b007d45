/** The plot of W3: one bar a system from the restart to all done, on a logarithmic scale; no dependency. */

const WIDTH = 760;
const LEFT = 250;
const RIGHT = 110;
const TOP = 64;
const ROW = 30;
const BAR = 16;
const TICKS = [100, 1_000, 10_000, 100_000];
const NAMES = { 100: '0.1 s', 1_000: '1 s', 10_000: '10 s', 100_000: '100 s' };

/** Greys that can be read on white and on black; where the theme is known, better ones. */
const STYLE = `
  text { font: 13px -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #6e7781; }
  .title { font-size: 15px; font-weight: 600; }
  .ours { font-weight: 600; }
  .grid { stroke: #8c959f; stroke-opacity: 0.35; }
  .wait { fill: #8c959f; fill-opacity: 0.45; }
  .work { fill: #8c959f; }
  .wait.ours { fill: #2f81f7; fill-opacity: 0.5; }
  .work.ours { fill: #2f81f7; }
  @media (prefers-color-scheme: dark) { text { fill: #adbac7; } }
  @media (prefers-color-scheme: light) { text { fill: #424a53; } }`;

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const x = (ms) => {
  const part = Math.log10(Math.max(ms, TICKS[0]) / TICKS[0]) / Math.log10(TICKS.at(-1) / TICKS[0]);
  return Math.round((LEFT + part * (WIDTH - LEFT - RIGHT)) * 10) / 10;
};
const seconds = (ms) =>
  `${(ms / 1_000).toLocaleString('en', { maximumFractionDigits: ms < 10_000 ? 2 : 1 })} s`;

function bar({ system, values }, at) {
  const y = TOP + at * ROW;
  const [first, all] = [values.first.median, values.all.median];
  const ours = system.startsWith('rekindle') ? ' ours' : '';
  const text = y + BAR - 3;
  return [
    `<text class="name${ours}" x="${LEFT - 10}" y="${text}" text-anchor="end">${escape(system)}</text>`,
    `<rect class="wait${ours}" x="${LEFT}" y="${y}" width="${x(first) - LEFT}" height="${BAR}"/>`,
    `<rect class="work${ours}" x="${x(first)}" y="${y}" width="${Math.max(2, x(all) - x(first))}" height="${BAR}"/>`,
    `<text class="name${ours}" x="${x(all) + 8}" y="${text}">${seconds(first)}, ${seconds(all)}</text>`,
  ].join('\n');
}

/** The table of W3 as an SVG text, the fastest first. */
export function plot({ lines }) {
  const sorted = lines.toSorted((a, b) => a.values.all.median - b.values.all.median);
  const bottom = TOP + sorted.length * ROW;
  const grid = TICKS.map(
    (ms) =>
      `<line class="grid" x1="${x(ms)}" x2="${x(ms)}" y1="${TOP - 8}" y2="${bottom}"/>\n` +
      `<text x="${x(ms)}" y="${bottom + 18}" text-anchor="middle">${NAMES[ms]}</text>`,
  );
  const title = 'kill -9 with 200 tasks in flight, restarted at once';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 30}" role="img" aria-label="${title}">
<style>${STYLE}
</style>
<text class="title" x="16" y="24">${title}</text>
<text x="16" y="44">from the restart to the first task resumed, and on to all 200 done; logarithmic</text>
${grid.join('\n')}
${sorted.map(bar).join('\n')}
</svg>
`;
}
