/**
 * Delivers what closed tabs left behind (WEB-5).
 *
 * A slot of this stream that no live page holds and that has intents is taken over, connected as the device that it
 * is, so that what was sent before is known as a repeat, and forgotten once the broker has everything. Idle slots are
 * kept for tabs to come, but only the few that were used last.
 */
import type { StreamId } from './protocol/ids.js';
import { Runner, type RunnerListener, type Told } from './runner.js';
import type { AsideRow } from './storage/store.js';
import type { Tenancy, Tenure } from './tabs/tenancy.js';
import type { Transport } from './transport/transport.js';

/** How many idle slots are kept for tabs to come. */
const IDLE_SLOTS_MAX = 4;

/** When to look again after a page that held waiting intents: it may be closing just now. */
const AGAIN_MS = 3_000;

/** What a courier works with. */
export interface CourierOptions {
  readonly tenancy: Tenancy;
  readonly stream: StreamId;
  readonly transport: Transport;
  /** An intent of a closed tab was refused for ever. */
  setAside(row: AsideRow): void;
}

/** One delivery at a time. */
export class Courier {
  #round: Promise<void> | undefined;
  #runner: Runner | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(private readonly options: CourierOptions) {}

  /** Looks for what was left behind, unless it is at it already. Failures wait for the next time. */
  look(): void {
    if (this.#stopped) return;
    this.#round ??= this.#deliverAll()
      .catch(() => undefined)
      .finally(() => (this.#round = undefined));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#again);
    await this.#runner?.stop();
    await this.#round;
  }

  async #deliverAll(): Promise<void> {
    const { tenancy } = this.options;
    let idle = 0;
    for (const summary of await tenancy.others()) {
      if (this.#stopped) return;
      if (summary.waiting === 0 && idle++ < IDLE_SLOTS_MAX) continue;
      const tenure = await tenancy.claim(summary);
      if (tenure === undefined) {
        if (summary.waiting > 0) this.#lookAgain();
        continue;
      }
      if (this.#stopped) return tenancy.release(tenure);
      await this.#empty(tenure, summary.waiting);
    }
  }

  #lookAgain(): void {
    clearTimeout(this.#again);
    if (!this.#stopped) this.#again = setTimeout(() => this.look(), AGAIN_MS);
  }

  async #empty(tenure: Tenure, waiting: number): Promise<void> {
    const { tenancy } = this.options;
    try {
      if (waiting === 0 || (await this.#deliver(tenure)))
        await tenancy.store.forget(tenure.slot, tenure.owner);
    } finally {
      tenancy.release(tenure);
    }
  }

  /** True once the broker has everything; false when the connection ends before. */
  async #deliver(tenure: Tenure): Promise<boolean> {
    const { tenancy, stream, transport } = this.options;
    const delivered = await new Promise<boolean>((resolve) => {
      const listener = this.#listener(resolve);
      this.#runner = new Runner({ tenancy, tenure, stream, transport, online: true, listener });
      this.#runner.start();
    });
    await this.#runner?.stop();
    this.#runner = undefined;
    return delivered;
  }

  #listener(resolve: (delivered: boolean) => void): RunnerListener {
    return {
      told: (output) => this.#told(output, resolve),
      setAside: (row) => this.options.setAside(row),
      connected: () => undefined,
      message: () => undefined,
      unauthorized: () => undefined,
      full: () => undefined,
      overfull: () => resolve(false),
      lost: () => resolve(false),
      switched: () => undefined,
      otherLeader: () => undefined,
      failed: () => resolve(false),
    };
  }

  #told(output: Told, resolve: (delivered: boolean) => void): void {
    if (output.type !== 'status') return;
    if (output.label === 'saved') resolve(true);
    if (output.phase === 'offline') resolve(false);
  }
}
