import { IndexeddbPersistence } from 'y-indexeddb';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';

export const theirs = {
  async open(group, { stored, online }) {
    const doc = new Y.Doc();
    const store = stored ? new IndexeddbPersistence(group, doc) : null;
    // In its favour: it asks for what is missing only once it knows what is here.
    if (store) await store.whenSynced;
    const link = online
      ? new WebsocketProvider(`ws://${location.host}`, group, doc, { disableBc: true })
      : null;
    if (link && !link.synced) await new Promise((resolve) => link.once('sync', resolve));
    return new Theirs(doc, store, link);
  },
};

class Theirs {
  #doc;
  #store;
  #link;
  #ratings;

  constructor(doc, store, link) {
    this.#doc = doc;
    this.#store = store;
    this.#link = link;
    this.#ratings = doc.getMap('ratings');
  }

  entries() {
    return [...this.#ratings.entries()];
  }

  /** Each in a transaction of its own, as a person makes them. Nothing says that the server has them: a reader shows it. */
  put(pairs) {
    for (const [key, value] of pairs) this.#ratings.set(key, value);
  }

  async close() {
    this.#link?.destroy();
    await this.#store?.destroy();
    this.#doc.destroy();
  }
}
