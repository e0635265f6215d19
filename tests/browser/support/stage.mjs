import { randomBytes } from 'node:crypto';

/** Takes down what a test or a file has set up, the last thing first, also when it failed half-way. */
export class Stage {
  #undo = [];

  /** Remembers how to end something; gives it back. */
  keep(thing, end) {
    this.#undo.push(() => end(thing));
    return thing;
  }

  async clear() {
    const problems = [];
    for (const undo of this.#undo.splice(0).reverse()) {
      try {
        await undo();
      } catch (problem) {
        problems.push(problem);
      }
    }
    if (problems.length > 0) throw new AggregateError(problems, 'something could not be taken down');
  }
}

/** A sync group that nothing else uses. */
export function freshGroup() {
  return `test-${randomBytes(6).toString('hex')}`;
}
