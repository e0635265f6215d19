// The example of the README: what is said there is what is compiled and run here.
import { openSyncline, setOf } from '@syncline/client';
import { SynclineProvider, useEntries, useStatus, useSyncline } from '@syncline/react';
import { createRoot } from 'react-dom/client';

export function Albums() {
  const albums = setOf(useSyncline(), 'albums');
  const starred = useEntries('albums');
  const { state, pending } = useStatus();
  return (
    <section>
      <p>{pending === 0 ? state : `${state}, ${pending} on the way`}</p>
      <button onClick={() => void albums.add('kiln')}>Star Kiln</button>
      <ul>
        {starred.map(({ key }) => (
          <li key={key}>{key}</li>
        ))}
      </ul>
    </section>
  );
}

export async function main(root: HTMLElement) {
  const client = await openSyncline({ url: 'ws://localhost:8080/mqtt', syncId: 'demo' });
  createRoot(root).render(
    <SynclineProvider client={client}>
      <Albums />
    </SynclineProvider>,
  );
}
