import { expect, it, vi } from 'vitest';
import { FakeBroker } from './broker.js';
import { Browser, type Page } from './tab.js';

const STEPS = 120;

/** Small and repeatable (mulberry32): a failure is found again by its seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Pages that publish, lose the network, lose answers, are reloaded, closed and opened again. */
class Storm {
  readonly broker = new FakeBroker();
  readonly browsers = [0, 1, 2].map((i) => new Browser(this.broker, { locks: i !== 1 }));
  readonly pages: Page[] = [];
  /** Every intent whose `publish` has resolved, by a name of its own. */
  readonly promised: string[] = [];

  constructor(private readonly random: (below: number) => number) {}

  async run(): Promise<void> {
    for (const browser of this.browsers) this.pages.push(await browser.open());
    for (let step = 0; step < STEPS; step++) await this.#step(step);
    this.broker.reachable = true;
    this.broker.mute = false;
    this.broker.cut();
  }

  async #step(step: number): Promise<void> {
    const which = this.random(this.pages.length);
    const dice = this.random(20);
    if (dice === 0) this.broker.reachable = !this.broker.reachable;
    else if (dice === 1) this.broker.cut();
    else if (dice === 2) this.broker.mute = !this.broker.mute;
    else if (dice === 3) await this.#reopen(which, true);
    else if (dice === 4) await this.#reopen(which, false);
    else if (dice < 8) await new Promise((resolve) => setTimeout(resolve, this.random(4)));
    else await this.#publish(which, step);
  }

  async #publish(which: number, step: number): Promise<void> {
    const eventType = this.random(3) === 0 ? 'unstar_album' : 'star_album';
    const name = `step ${step}`;
    await this.pages[which]?.client.publish(eventType, { album_id: `a${this.random(5)}`, name });
    this.promised.push(name);
  }

  async #reopen(which: number, sameTab: boolean): Promise<void> {
    const page = this.pages[which];
    const browser = this.browsers[which];
    await page?.vanish();
    if (page && browser) this.pages[which] = await browser.open(sameTab ? page.memory : undefined);
  }
}

it.each([1, 2, 3, 4, 5, 6])(
  'g4_g5_g11 nothing is lost, repeated or disagreed on: storm %i',
  async (seed) => {
    const storm = new Storm(randomOf(seed));
    await storm.run();
    const { broker, pages, promised } = storm;
    await vi.waitFor(() => expect(broker.log.length).toBe(promised.length), { timeout: 5_000, interval: 5 });
    const arrived = broker.log.map(({ eventData }) => (eventData as { name: string }).name);
    expect([...arrived].sort(), 'each exactly once').toEqual([...promised].sort());
    await vi.waitFor(
      () => expect(pages.map(({ client }) => client.status.state)).toEqual(Array(3).fill('saved')),
      5_000,
    );
    await vi.waitFor(
      () => expect(pages.map(({ client }) => client.seq)).toEqual(Array(3).fill(promised.length)),
      5_000,
    );
    for (const { client } of pages)
      expect(client.entries('albums').map(({ key }) => key)).toEqual(broker.live('albums'));
    const devices = new Set(broker.log.map(({ deviceUuid }) => deviceUuid));
    for (const device of devices) {
      const seqs = broker.log
        .filter((event) => event.deviceUuid === device)
        .map(({ deviceSeq }) => deviceSeq ?? 0);
      expect(seqs, 'each device in its own order').toEqual([...seqs].sort((a, b) => a - b));
    }
    await Promise.all(pages.map(({ client }) => client.close()));
  },
  30_000,
);
