import { mapOf, openSyncline } from '../../../client-sdk/web/src/index.ts';

const CHUNK = 500;

export const ours = {
  async open(group, { stored, online }) {
    const sync = await openSyncline({
      url: `ws://${location.host}/mqtt`,
      syncId: group,
      storage: stored ? 'indexeddb' : 'memory',
    });
    if (online) await until(sync, () => sync.status.state === 'saved');
    else sync.setOnline(false);
    return new Ours(sync);
  },
};

class Ours {
  #sync;
  #ratings;

  constructor(sync) {
    this.#sync = sync;
    this.#ratings = mapOf(sync, 'ratings');
  }

  entries() {
    return this.#sync.entries('ratings').map(({ key, value }) => [key, value]);
  }

  async put(pairs) {
    for (let at = 0; at < pairs.length; at += CHUNK) {
      const chunk = pairs.slice(at, at + CHUNK);
      const receipts = await Promise.all(chunk.map(([key, value]) => this.#ratings.put(key, value)));
      await Promise.all(receipts.map(({ saved }) => saved));
    }
  }

  async enqueue(at) {
    const receipt = await this.#ratings.put(`offline-${at}`, 3);
    receipt.saved.catch(() => {});
  }

  /** A number that nobody has used yet stands in every key, so nothing replaces anything. */
  async fill(upTo) {
    const missing = upTo - this.#sync.status.pending;
    const changes = Array.from({ length: missing }, (_, at) => this.enqueue(`fill-${at}`));
    await Promise.all(changes);
    return this.#sync.status.pending;
  }

  async goOffline() {
    this.#sync.setOnline(false);
    return this.#sync.status.pending;
  }

  close() {
    return this.#sync.close();
  }
}

function until(sync, isSo) {
  return new Promise((resolve) => {
    const look = () => {
      if (!isSo()) return;
      stop();
      resolve();
    };
    const stop = sync.subscribe(look);
    look();
  });
}
