/** Progress on a terminal as bars, elsewhere as plain lines. */
import { MultiBar, Presets } from 'cli-progress';

const FORMAT = '  {label} {bar} {value}/{total}  {note}';
const WIDTH = 26;

class Lines {
  #shown = -1;

  constructor(label, total) {
    this.label = label;
    this.total = total;
  }

  update(value, note) {
    const fifth = Math.floor((5 * value) / this.total);
    if (fifth <= this.#shown) return;
    this.#shown = fifth;
    console.log(`  ${this.label} ${String(value).padStart(5)}/${this.total}  ${note}`);
  }
}

/** Some counters that go up. `stop()` leaves them where they are and gives the terminal back. */
export function showProgress(counters) {
  const bars = process.stdout.isTTY
    ? new MultiBar(
        { format: FORMAT, barsize: 30, hideCursor: true, clearOnComplete: false },
        Presets.shades_classic,
      )
    : null;
  const shown = counters.map(({ label, total }) => {
    const padded = label.padEnd(WIDTH);
    if (bars === null) return new Lines(padded, total);
    const bar = bars.create(total, 0, { label: padded, note: '' });
    return { update: (value, note) => bar.update(value, { note }) };
  });
  let stopped = false;
  return {
    update: (index, value, note = '') => shown[index].update(value, note),
    stop() {
      // A second stop would move the cursor up into what was printed since.
      if (!stopped) bars?.stop();
      stopped = true;
    },
  };
}
