import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { openSyncline, type AskToken, type Syncline } from '../../src/index.js';
import { Binary } from './binary.js';

let broker: Binary;
const clients: Syncline[] = [];

beforeAll(async () => (broker = await Binary.start()));
afterAll(() => broker.stop());
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

async function open(token: AskToken): Promise<Syncline> {
  const sync = await openSyncline({ url: broker.url, syncId: 'music', username: 'ana', token });
  clients.push(sync);
  return sync;
}

async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition()).toBe(true), { timeout: 15_000, interval: 20 });
}

it('wall_8_web_6 a connection outlives its first token when it is given fresh ones', async () => {
  const expiries: number[] = [];
  const sync = await open(async () => {
    expiries.push(Date.now() + 2_000);
    return { text: broker.token(2), renewInMs: 300 };
  });
  await until(() => sync.status.state === 'saved');
  const told: string[] = [];
  sync.addEventListener('status', ({ detail }) => told.push(detail.state));
  await until(() => Date.now() > (expiries[0] ?? Infinity) + 2_000);
  await (
    await sync.publish('star_album', { album_id: 'a1' })
  ).saved;
  expect(new Set(told)).toEqual(new Set(['saving', 'saved']));
});

it('wall_7_web_6 a token that expires ends the connection, and the next one shows another', async () => {
  let asked = 0;
  const sync = await open(async () => broker.token((asked += 1) === 1 ? 2 : 60));
  await until(() => sync.status.state === 'saved');
  await until(() => asked === 2);
  await until(() => sync.status.state === 'saved');
  expect(asked).toBe(2);
});

it('wall_6_web_6 a token of another issuer is asked for once more, then somebody has to sign in', async () => {
  let asked = 0;
  let secret: string | undefined = 'not the secret of this broker, but long enough';
  const sync = await open(async () => {
    asked += 1;
    return broker.token(60, secret);
  });
  await until(() => sync.status.state === 'needs_auth');
  expect(asked).toBeGreaterThanOrEqual(2);
  expect(JSON.stringify(sync.status)).not.toContain('eyJ');
  const receipt = await sync.publish('star_album', { album_id: 'a2' });
  secret = undefined;
  sync.setOnline(true);
  await receipt.saved;
});

it('told_1_web_11 a change is seen by another device once it has it', async () => {
  const [here, there] = [await open(async () => broker.token(60)), await open(async () => broker.token(60))];
  await until(() => [here, there].every(({ status }) => status.state === 'saved'));
  there.setOnline(false);
  const receipt = await here.publish('star_album', { album_id: 'a3' });
  await receipt.saved;
  let seen = false;
  const seeing = receipt.seenBy(there.deviceUuid).then(() => (seen = true));
  await receipt.seenBy(here.deviceUuid);
  expect(seen).toBe(false);
  there.setOnline(true);
  await seeing;
  expect(there.has('albums', 'a3')).toBe(true);
});
