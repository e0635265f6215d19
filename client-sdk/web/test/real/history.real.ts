import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { eventsOf, openSyncline, stateAt, type HistoryOptions, type Syncline } from '../../src/index.js';
import { Binary } from './binary.js';

let broker: Binary;
let sync: Syncline;
let options: HistoryOptions;

beforeAll(async () => {
  broker = await Binary.start();
  const token = async (): Promise<string> => broker.token(60);
  options = { url: broker.url, syncId: 'music', username: 'ana', token };
  sync = await openSyncline({ ...options, syncId: 'music', url: broker.url });
  for (const album_id of ['a1', 'a2', 'a3']) {
    const receipt = await sync.publish('star_album', { album_id });
    await receipt.saved;
  }
  await vi.waitFor(() => expect(sync.seq).toBe(3), { timeout: 15_000, interval: 20 });
});
afterAll(async () => {
  await sync.close();
  await broker.stop();
});

it('view_3 reads who did what beside a live client, which nobody notices', async () => {
  const told: string[] = [];
  sync.addEventListener('status', ({ detail }) => told.push(detail.state));
  const seen: unknown[] = [];
  for await (const { seq, deviceUuid, eventData } of eventsOf(options, { after: 1, until: sync.seq }))
    seen.push([seq, deviceUuid, eventData]);
  expect(seen).toEqual([
    [2, sync.deviceUuid, { album_id: 'a2' }],
    [3, sync.deviceUuid, { album_id: 'a3' }],
  ]);
  expect([told, sync.devices().length]).toEqual([[], 1]);
});

it('view_7 gives the state of then, and says what is kept of those that are not', async () => {
  const past = await stateAt(options, 2);
  expect([past.seq, past.entries('albums').map(({ key }) => key)]).toEqual([2, ['a1', 'a2']]);
  await expect(stateAt(options, 99)).rejects.toMatchObject({
    refusal: 'not_kept',
    reason: expect.stringMatching(/the states of seq \d+ to 3 are kept/) as string,
  });
  await expect(stateAt({ ...options, syncId: 'others' }, 0)).rejects.toMatchObject({
    refusal: 'not_allowed',
  });
});
