import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { until } from './until.mjs';

const REPOSITORY = resolve(import.meta.dirname, '../../..');
const BINARY = resolve(process.env.SYNCLINE_BIN ?? join(REPOSITORY, 'target/debug/syncline'));
const PAGES = resolve(process.env.SYNCLINE_PAGES ?? join(REPOSITORY, 'client-sdk/web/demo/dist'));
const OUTPUT_KEPT = 8_000;

/** The real binary on free loopback ports, with a data directory of its own. */
export class Broker {
  #process = null;
  #output = '';
  #environment;

  constructor(ports, data, environment) {
    this.mqttPort = ports[0];
    this.httpPort = ports[1];
    this.data = data;
    this.#environment = environment;
  }

  /** Starts one and waits until it is ready. `environment`: more `SYNCLINE__SECTION__KEY` variables. */
  static async start(environment = {}) {
    needs(BINARY, 'cargo build');
    needs(join(PAGES, 'index.html'), 'cd client-sdk/web && npm ci && npm run build:demo');
    const data = await mkdtemp(join(tmpdir(), 'syncline-browser-'));
    const broker = new Broker(await freePorts(2), data, environment);
    await broker.launch();
    return broker;
  }

  /** The address of the page in a sync group. */
  page(syncId, { host = '127.0.0.1', port = this.httpPort, name } = {}) {
    const address = new URL(`http://${host}:${port}/`);
    address.searchParams.set('sync', syncId);
    if (name) address.searchParams.set('name', name);
    return address.href;
  }

  /** Starts the process again, on the same ports and data. */
  async launch() {
    const flags = [
      '--mqtt',
      `127.0.0.1:${this.mqttPort}`,
      '--http',
      `127.0.0.1:${this.httpPort}`,
      '--data',
      this.data,
    ];
    const env = { ...process.env, SYNCLINE__HTTP__PAGES: PAGES, ...this.#environment };
    this.#process = spawn(BINARY, ['serve', ...flags], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream.on('data', (text) => this.#keep(text));
    await until('the broker is ready', () => this.#isReady()).catch((problem) => this.#fail(problem.message));
  }

  /** `kill -9`: nothing is drained, nothing is flushed. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** Ends it kindly and removes its data. */
  async stop() {
    await this.#end('SIGTERM');
    await rm(this.data, { recursive: true, force: true });
  }

  async #end(signal) {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const overdue = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(overdue);
  }

  async #isReady() {
    if (this.#process.exitCode !== null) this.#fail(`the broker ended with status ${this.#process.exitCode}`);
    try {
      return (await fetch(`http://127.0.0.1:${this.httpPort}/readyz`)).ok;
    } catch {
      return false;
    }
  }

  #keep(text) {
    this.#output = (this.#output + text).slice(-OUTPUT_KEPT);
  }

  #fail(problem) {
    throw new Error(`${problem}; it said:\n${this.#output}`);
  }
}

function needs(path, remedy) {
  if (!existsSync(path)) throw new Error(`${path} is missing: ${remedy}`);
}

/** Ports that nobody listens on. All are held before the first is let go, so that they differ. */
async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, listen));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function listen() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
