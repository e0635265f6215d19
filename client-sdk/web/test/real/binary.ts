/** The real broker on free loopback ports, with a directory of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { vi, expect } from 'vitest';

const BINARY = resolve(
  process.env['SYNCLINE_BIN'] ?? join(import.meta.dirname, '../../../../target/debug/syncline'),
);
const READY_MS_MAX = 20_000;

export class Binary {
  readonly #secret = randomBytes(32).toString('hex');

  private constructor(
    private readonly directory: string,
    private readonly port: number,
  ) {}

  #process: ChildProcess | undefined;

  /** One that takes tokens, to the second. */
  static async start(): Promise<Binary> {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is not there: cargo build -p syncline-broker`);
    const binary = new Binary(await mkdtemp(join(tmpdir(), 'syncline-web-')), await freePort());
    await binary.#launch();
    return binary;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/mqtt`;
  }

  /** A token of ana's for the group `music`, until so many seconds from now. */
  token(seconds: number, secret = this.#secret): string {
    const exp = Math.floor(Date.now() / 1_000) + seconds;
    const parts = [
      { alg: 'HS256', typ: 'JWT' },
      { sub: 'ana', exp, sync: { music: 'rw' } },
    ];
    const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  }

  async stop(): Promise<void> {
    const ended = this.#process && once(this.#process, 'exit');
    this.#process?.kill('SIGTERM');
    await ended;
    await rm(this.directory, { recursive: true, force: true });
  }

  async #launch(): Promise<void> {
    const secret = join(this.directory, 'secret');
    await writeFile(secret, this.#secret, { mode: 0o600 });
    const env = {
      ...process.env,
      SYNCLINE__AUTH__TOKENS__SECRET: secret,
      SYNCLINE__AUTH__TOKENS__LEEWAY_S: '0',
    };
    const flags = ['--mqtt', `127.0.0.1:${await freePort()}`, '--http', `127.0.0.1:${this.port}`];
    const data = ['--data', join(this.directory, 'data')];
    let said = '';
    this.#process = spawn(BINARY, ['serve', ...flags, ...data], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.on('data', (text: Buffer) => (said += text.toString()));
    await vi.waitFor(
      async () => {
        expect(this.#process?.exitCode, said).toBeNull();
        await fetch(`http://127.0.0.1:${this.port}/`);
      },
      { timeout: READY_MS_MAX, interval: 50 },
    );
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}
