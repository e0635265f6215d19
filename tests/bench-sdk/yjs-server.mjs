import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { until } from '../browser/support/until.mjs';

/** Its own program, as its package has it: no persistence, which is its default. */
const PROGRAM = fileURLToPath(new URL('node_modules/@y/websocket-server/src/server.js', import.meta.url));

/** The server of y-websocket in a process of its own, on a free port. */
export class YjsServer {
  #process;

  constructor(child, port) {
    this.#process = child;
    this.port = port;
  }

  static async start() {
    const port = await freePort();
    const env = { ...process.env, HOST: '127.0.0.1', PORT: String(port) };
    const server = new YjsServer(spawn(process.execPath, [PROGRAM], { env, stdio: 'ignore' }), port);
    await until('the server of y-websocket listens', () => answers(port));
    return server;
  }

  async stop() {
    const ended = once(this.#process, 'exit');
    this.#process.kill();
    await ended;
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
