/** What becomes of a function's value or error. */
interface Ends {
  returned(value: unknown): Promise<unknown>;
  threw(thrown: unknown): Promise<unknown>;
  /** Given what rejects the outcome early, for a function that is deaf to its signal. */
  abandonable(reject: (reason: unknown) => void): void;
}

/**
 * Calls a function and settles as what follows from its end. No async function: of many that wait, each would keep a
 * frame and promises of its own.
 */
export function runToEnd(invoke: () => unknown, ends: Ends): Promise<unknown> {
  return new Promise((resolve, reject) => {
    ends.abandonable(reject);
    // Abandoned before, nobody hears it.
    const settle = (end: Promise<unknown>): void => void end.then(resolve, reject);
    const threw = (thrown: unknown): void => settle(ends.threw(thrown));
    try {
      Promise.resolve(invoke()).then((value) => settle(ends.returned(value)), threw);
    } catch (thrown) {
      threw(thrown);
    }
  });
}
