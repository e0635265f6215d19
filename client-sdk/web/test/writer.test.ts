import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DeviceRow, Write } from '../src/core/messages.js';
import type { ValueMap } from '../src/protocol/value.js';
import { Writer } from '../src/writer.js';

const DEVICE: DeviceRow = { deviceUuid: 'd', nextDeviceSeq: 1, offered: 0, timestamp: 0, counter: 0 };
const SCHEMA: ValueMap = { strict: false, collections: {} };

function write(number: number, put: Write['put'], deleted: readonly number[] = []): Write {
  return { type: 'write', write: number, put, delete: deleted };
}

describe('a writer whose storage is full', () => {
  let hasRoom: (writes: readonly Write[]) => boolean;
  let stored: (readonly Write[])[];
  let tries: number;
  const told = { persisted: vi.fn<(writes: readonly Write[]) => void>(), failed: vi.fn(), full: vi.fn() };
  let writer: Writer;
  const persisted = (): number[] => told.persisted.mock.calls.flat(2).map((one) => one.write);

  beforeEach(() => {
    vi.useFakeTimers();
    vi.clearAllMocks();
    stored = [];
    tries = 0;
    hasRoom = () => true;
    writer = new Writer({
      store: async (writes) => {
        tries += 1;
        if (!hasRoom(writes)) throw new DOMException('no room', 'QuotaExceededError');
        stored.push(writes);
      },
      isAwaited: () => false,
      ...told,
    });
  });
  afterEach(() => vi.useRealTimers());

  it('web_8 tries again what has to be durable, and says that it is only when it is', async () => {
    hasRoom = () => false;
    writer.write(write(1, { device: DEVICE }));
    await vi.advanceTimersByTimeAsync(4_999);
    expect(told.full).toHaveBeenCalledTimes(1);
    hasRoom = () => true;
    expect(told.persisted).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(persisted()).toEqual([1]);
    expect(stored.flat().map((one) => one.write)).toEqual([1]);
  });

  it('store_1_web_8 keeps the order of what comes meanwhile', async () => {
    hasRoom = () => false;
    writer.write(write(1, { device: DEVICE }));
    // While the first is on its way.
    writer.write(write(2, { device: DEVICE }));
    await vi.advanceTimersByTimeAsync(0);
    hasRoom = () => true;
    writer.write(write(3, { device: { ...DEVICE, offered: 2 } }));
    await vi.advanceTimersByTimeAsync(0);
    expect(stored.flat().map((one) => one.write)).toEqual([1, 2, 3]);
    expect(persisted()).toEqual([1, 2, 3]);
  });

  it('web_8 does not wait for room when the client ends', async () => {
    hasRoom = () => false;
    writer.write(write(1, { device: DEVICE }));
    await vi.advanceTimersByTimeAsync(0);
    const before = tries;
    await writer.finish();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tries).toBeLessThanOrEqual(before + 2);
    expect([told.persisted.mock.calls, told.failed.mock.calls]).toEqual([[], []]);
  });

  it('store_3_web_8 a schema that found no room goes with the next replica, without which that were of no use', async () => {
    hasRoom = (writes) => writes.every(({ put }) => put.replica === undefined);
    writer.write(write(1, { replica: new Uint8Array([1]), schema: SCHEMA }, [7]));
    await vi.advanceTimersByTimeAsync(0);
    expect(persisted()).toEqual([1]);
    expect(stored.flat()).toEqual([write(1, {})]);
    hasRoom = () => true;
    const replica = new Uint8Array([2]);
    writer.write(write(2, { replica }));
    writer.write(write(3, { replica }));
    await vi.advanceTimersByTimeAsync(0);
    writer.write(write(4, { replica }));
    await vi.advanceTimersByTimeAsync(0);
    expect(stored.at(-1)).toEqual([write(4, { replica })]);
    expect(stored.flat().filter(({ put }) => put.schema !== undefined)[0]).toEqual(
      write(2, { replica, schema: SCHEMA }),
    );
  });

  it('told_3_web_8 what is set aside leaves the outbox also where the replica finds no room', async () => {
    hasRoom = (writes) => writes.every(({ put }) => put.replica === undefined);
    const clock = { timestamp: 1, counter: 0 };
    const name = { eventType: 'star', eventData: null, deviceUuid: 'd', deviceSeq: 1 };
    const intent = { id: 8, ...name, clock, baseSeq: 0, epoch: null };
    const aside = [{ id: 'x', intent, refusal: 'not_allowed', reason: '' }];
    writer.write({ ...write(1, { replica: new Uint8Array([1]) }, [7, 8]), aside });
    await vi.advanceTimersByTimeAsync(0);
    expect(stored.flat()).toEqual([{ ...write(1, {}, [8]), aside }]);
  });

  it('store_4 another failure ends it', async () => {
    hasRoom = () => {
      throw new Error('the disk is gone');
    };
    writer.write(write(1, { device: DEVICE }));
    await vi.advanceTimersByTimeAsync(0);
    expect(told.failed).toHaveBeenCalledWith(new Error('the disk is gone'));
  });
});
