/** The clock that a core is driven by. */
import type { Environment } from './environment.js';

/**
 * Wall time that neither goes back nor stands still: when the system's clock is set back, it goes on from where it
 * was. Else whatever is due would wait until that clock has caught up.
 */
export class WallClock {
  #wall = -Infinity;
  #steady = 0;

  constructor(private readonly environment: Pick<Environment, 'now' | 'steady'>) {}

  /** Unix milliseconds. */
  now(): number {
    const [wall, steady] = [this.environment.now(), this.environment.steady()];
    const passed = Math.floor(this.#wall + steady - this.#steady);
    if (wall < passed) return passed;
    [this.#wall, this.#steady] = [wall, steady];
    return wall;
  }
}
