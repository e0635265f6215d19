/**
 * An append-only file of records: each is a length, a checksum of what follows, and the bytes. All numbers are little-endian.
 *
 * A record is on disk before `append` resolves, so a crash can tear only the last one: that is cut at the next opening. A bad
 * record that a good one follows is no crash but damage, and is never cut, because intents would go with it.
 */
import { open, rename, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';

const MAGIC = Buffer.from('SYNCLN1\n');
/** Marks a record, so that one is found behind damage. */
const MARK = 0x1d0e5a7c;
const HEAD_BYTES = 12;

/** See above. One call at a time. */
export class Journal {
  #broken: Error | undefined;

  private constructor(
    private readonly path: string,
    private file: FileHandle,
    private end: number,
  ) {}

  /** Opens or creates it; `take` gets every record, in order. Throws an `Error` that names file and place where it is damaged. */
  static async open(path: string, take: (record: Buffer) => Promise<void>): Promise<Journal> {
    const file = await open(path, 'a+', 0o600);
    try {
      const bytes = await file.readFile();
      if (bytes.length < MAGIC.length) await begin(file, path);
      else if (!bytes.subarray(0, MAGIC.length).equals(MAGIC))
        throw new Error(`${path} is no journal of this version of the client: give it another folder`);
      let at = MAGIC.length;
      for (let record = recordAt(bytes, at); record !== undefined; record = recordAt(bytes, at)) {
        await take(record);
        at += HEAD_BYTES + record.length;
      }
      if (at < bytes.length) await cutTail(file, path, bytes, at);
      return new Journal(path, file, at);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Its length in bytes. */
  get length(): number {
    return this.end;
  }

  /** Durable when it resolves. On a full disk nothing is left of it; where that cannot be had, nothing more is taken. */
  async append(record: Uint8Array): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    const bytes = framed(record);
    try {
      await writeAll(this.file, bytes);
    } catch (error) {
      await this.#breaking(async () => {
        await this.file.truncate(this.end);
        await this.file.datasync();
      });
      throw error;
    }
    // After a sync that failed nobody knows what is on the disk.
    await this.#breaking(() => this.file.datasync());
    this.end += bytes.length;
  }

  /** Puts one record in place of all, whole or not at all. */
  async replace(record: Uint8Array): Promise<void> {
    const fresh = await open(`${this.path}.new`, 'w', 0o600);
    const bytes = Buffer.concat([MAGIC, framed(record)]);
    try {
      await writeAll(fresh, bytes);
      await fresh.sync();
    } finally {
      await fresh.close();
    }
    await this.#breaking(async () => {
      await rename(`${this.path}.new`, this.path);
      await syncFolder(this.path);
      const old = this.file;
      this.file = await open(this.path, 'a+', 0o600);
      this.end = bytes.length;
      await old.close();
    });
  }

  close(): Promise<void> {
    return this.file.close();
  }

  async #breaking(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#broken = new Error(`${this.path} takes nothing more: ${String(error)}`, { cause: error });
      throw this.#broken;
    }
  }
}

async function begin(file: FileHandle, path: string): Promise<void> {
  await file.truncate(0);
  await writeAll(file, MAGIC);
  await file.sync();
  await syncFolder(path);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
}

function framed(record: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(MARK, 0);
  head.writeUInt32LE(record.length, 4);
  head.writeUInt32LE(crc32(record, crc32(head.subarray(4, 8))), 8);
  return Buffer.concat([head, record]);
}

function recordAt(bytes: Buffer, at: number): Buffer | undefined {
  if (bytes.length - at < HEAD_BYTES || bytes.readUInt32LE(at) !== MARK) return undefined;
  const length = bytes.readUInt32LE(at + 4);
  const record = bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length);
  const sum = crc32(record, crc32(bytes.subarray(at + 4, at + 8)));
  return record.length === length && sum === bytes.readUInt32LE(at + 8) ? record : undefined;
}

async function cutTail(file: FileHandle, path: string, bytes: Buffer, from: number): Promise<void> {
  const mark = Buffer.alloc(4);
  mark.writeUInt32LE(MARK);
  for (let at = bytes.indexOf(mark, from + 1); at >= 0; at = bytes.indexOf(mark, at + 1))
    if (recordAt(bytes, at) !== undefined)
      throw new Error(
        `${path} is damaged at byte ${from}: restore it, or move it away to begin anew without what it has`,
      );
  await file.truncate(from);
  await file.sync();
}

async function syncFolder(path: string): Promise<void> {
  // Windows has no such thing as the sync of a folder.
  if (process.platform === 'win32') return;
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
