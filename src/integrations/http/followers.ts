/** Event streams cost a poll each: there is a bound. */
import { Problem } from './problems.js';

/** How many streams there are. */
export class Followers {
  readonly #most: number;
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes a place; returns a function that gives it back. @throws {Problem} 503 */
  enter(): () => void {
    if (this.#count >= this.#most) {
      const headers = { 'retry-after': '5' };
      throw new Problem(503, 'TOO_MANY_FOLLOWERS', 'Too many event streams are open.', headers);
    }
    this.#count += 1;
    let entered = true;
    return () => {
      if (entered) this.#count -= 1;
      entered = false;
    };
  }
}
