// First: React looks for a document when it is loaded.
import './dom.js';
import { readFileSync } from 'node:fs';
import type { Syncline } from '@syncline/client';
import {
  SynclineProvider,
  useConflicts,
  useDevices,
  useEntries,
  useEntry,
  useList,
  usePending,
  useSetAside,
  useStatus,
  useSyncline,
  useUndoSteps,
} from '@syncline/react';
import { act, StrictMode, type ReactNode } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { listOf, setOf, undoable } from '../../src/index.js';
import { FakeBroker } from '../../test/broker.js';
import { open, saved } from '../../test/pages.js';
import { Browser } from '../../test/tab.js';
import { Albums } from './example.js';

let broker: FakeBroker;
let roots: Root[] = [];

beforeEach(() => (broker = new FakeBroker()));
afterEach(async () => {
  await act(async () => roots.splice(0).forEach((root) => root.unmount()));
});

async function online(): Promise<Syncline> {
  const page = await open(new Browser(broker, { locks: true }));
  await saved(page);
  return page.client;
}

async function show(client: Syncline, child: ReactNode): Promise<HTMLElement> {
  const element = document.createElement('div');
  const root = createRoot(element);
  roots = [...roots, root];
  await act(async () =>
    root.render(
      <StrictMode>
        <SynclineProvider client={client}>{child}</SynclineProvider>
      </StrictMode>,
    ),
  );
  return element;
}

/** What comes from the broker is nobody's act. */
async function says(element: HTMLElement, text: RegExp): Promise<void> {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: false });
  try {
    await vi.waitFor(() => expect(element.textContent).toMatch(text));
  } finally {
    Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  }
}

it('the example of the README shows a change at once, and when it is saved', async () => {
  const client = await online();
  const element = await show(client, <Albums />);
  expect(element.textContent).toMatch(/^saved/);
  await act(async () => element.querySelector('button')?.click());
  await says(element, /kiln$/);
  await says(element, /^savedStar Kilnkiln$/);
});

it('the README has the example as it is compiled', () => {
  const read = (name: string): string => readFileSync(`${import.meta.dirname}/${name}`, 'utf8');
  const example = read('example.tsx').split('\n').slice(1).join('\n').trim();
  expect(read('../README.md')).toContain(`\`\`\`tsx\n${example}\n\`\`\``);
});

function Everything() {
  const kiln = useEntry('albums', 'kiln');
  const parts = [
    `${useSyncline().syncId} ${useStatus().state}`,
    `kiln ${kiln === undefined ? 'no' : kiln.pending ? 'waits' : 'yes'}`,
    `list ${useList('playlists', 'road').map(({ value }) => String(value))}`,
    `open ${useConflicts('notes').length}`,
    `pending ${usePending().map(({ eventType }) => eventType)}`,
    `devices ${useDevices().length}`,
    `aside ${useSetAside().length}`,
  ];
  return <p>{parts.join('; ')}</p>;
}

it('every hook follows the client, offline and back', async () => {
  const client = await online();
  const element = await show(client, <Everything />);
  await says(element, /music saved; kiln no; list ; open 0; pending ; .*aside 0$/);
  await act(async () => {
    client.setOnline(false);
    await setOf(client, 'albums').add('kiln');
    await listOf(client, 'playlists', 'road').put('i1', 'kiln.1');
  });
  await says(element, /offline; kiln waits; list kiln\.1; open 0; pending star_album,put_in_playlist;/);
  await act(async () => client.setOnline(true));
  await says(element, /saved; kiln yes; list kiln\.1; open 0; pending ;/);
});

it('a component renders again only for what it reads', async () => {
  const client = await online();
  let renders = 0;
  const Ratings = (): ReactNode => {
    renders += 1;
    return useEntries('ratings').length;
  };
  const element = await show(client, <Ratings />);
  const before = renders;
  await act(async () => void (await setOf(client, 'albums').add('kiln')));
  expect(renders).toBe(before);
  await act(async () => void (await client.publish('rate_track', { track_id: 'kiln.1', rating: 4 })));
  expect(element.textContent).toBe('1');
  expect(renders).toBeGreaterThan(before);
});

it('the steps of undo are followed', async () => {
  const client = await online();
  const history = undoable(client);
  const Steps = (): ReactNode => {
    const { undo, redo } = useUndoSteps(history);
    return `${undo} ${redo}`;
  };
  const element = await show(client, <Steps />);
  await act(async () => void (await setOf(history, 'albums').add('kiln')));
  await says(element, /^1 0$/);
  await act(async () => void (await history.undo()));
  await says(element, /^0 1$/);
});

it('another client takes the place of the one before', async () => {
  const [one, other] = [await online(), await online()];
  one.setOnline(false);
  await setOf(one, 'albums').add('loom');
  const Keys = (): ReactNode =>
    useEntries('albums')
      .map(({ key }) => key)
      .join();
  const element = await show(one, <Keys />);
  expect(element.textContent).toBe('loom');
  await act(async () =>
    roots.at(-1)?.render(
      <SynclineProvider client={other}>
        <Keys />
      </SynclineProvider>,
    ),
  );
  expect(element.textContent).toBe('');
});

it('on a server it renders what is there', async () => {
  const client = await online();
  const html = renderToString(
    <SynclineProvider client={client}>
      <Albums />
    </SynclineProvider>,
  );
  expect(html).toContain('Star Kiln');
});

it('a hook outside of a provider says what is missing', () => {
  expect(() => renderToString(<Albums />)).toThrow(/put <SynclineProvider client=/);
});
