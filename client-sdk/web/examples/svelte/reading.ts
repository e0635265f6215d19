import type { Syncline } from '@syncline/client';
import { createSubscriber } from 'svelte/reactivity';

/** A client whose reads are followed: what an effect or a template reads through it, it reads again after changes. */
export function reading(sync: Syncline): () => Syncline {
  const follow = createSubscriber((update) => sync.subscribe(update));
  return () => {
    follow();
    return sync;
  };
}
