/** The messages between racing workers and the storage, delivered in an order that is drawn beforehand. */
import { drained } from '../real-turns.js';
import type { Message } from '../explore/connection.js';
import type { Post } from '../explore/drive.js';

interface Letter {
  readonly label: string;
  readonly deliver: () => void;
}

export class Mail implements Post {
  /** Who was served, in order. */
  readonly served: string[] = [];
  readonly #waiting: Letter[] = [];
  readonly #choices: readonly number[];

  /** @param choices which of those that wait is next, by age; once they are used up, the oldest always is */
  constructor(choices: readonly number[]) {
    this.#choices = choices;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  put({ from, way }: Pick<Message, 'from' | 'way'>, deliver: () => void): void {
    this.#waiting.push({ label: `${from.label}${way === 'there' ? '>' : '<'}`, deliver });
  }

  async deliver(): Promise<void> {
    const choice = this.#choices[this.served.length] ?? 0;
    const [letter] = this.#waiting.splice(choice % this.#waiting.length, 1);
    if (letter === undefined) return;
    this.served.push(letter.label);
    letter.deliver();
    await drained();
  }
}
