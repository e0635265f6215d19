// Both clients behind the same few calls, for the program outside to make. Loaded is what both need: so no time below has it.
import { ours } from './ours.js';
import { theirs } from './theirs.js';

const clients = { ours, theirs };
const FIRST_SCREEN = 50;
let open = null;

globalThis.bench = {
  /** Opens a client that keeps what it has in this profile (`stored`) or nowhere, and goes online if told to. */
  async open(name, group, options) {
    open = await clients[name].open(group, options);
  },

  /** Milliseconds from opening what is stored until all entries are read and a first screen of them is in the page. */
  async firstRender(name, group) {
    const begun = performance.now();
    open = await clients[name].open(group, { stored: true, online: false });
    const entries = open.entries();
    const rows = entries.slice(0, FIRST_SCREEN).map(([key, value]) => {
      const row = document.createElement('li');
      row.textContent = `${key}: ${value}`;
      return row;
    });
    document.querySelector('#rows').replaceChildren(...rows);
    return { milliseconds: performance.now() - begun, entries: entries.length };
  },

  /** Puts values under keys, and waits until they are saved as far as the client can say. */
  put: (pairs) => open.put(pairs),

  /** How many entries there are, and a sum over keys and values that tells one map from another. */
  summary() {
    let sum = 0;
    const entries = open.entries();
    for (const [key, value] of entries) sum = (sum + Number(key.slice(-5)) * value) % 1_000_000_007;
    return `${entries.length} entries, sum ${sum}`;
  },

  /** Milliseconds of each of `count` changes, one after the other, from the call until it is durable here. */
  async enqueue(from, count) {
    const times = [];
    for (let at = from; at < from + count; at++) {
      const begun = performance.now();
      await open.enqueue(at);
      times.push(performance.now() - begun);
    }
    return times;
  },

  /** Fills the outbox up to a number of changes that wait. */
  fill: (upTo) => open.fill(upTo),
  goOffline: () => open.goOffline(),
  close: () => open.close(),
};
