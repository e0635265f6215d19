import { createReadStream, existsSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { extname, join, normalize } from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript' };

/**
 * One origin that serves the page and takes WebSockets through to a server, counting their bytes: everything that the
 * connection carries above TCP, handshake included.
 */
export class Front {
  #server = createServer((request, response) => this.#serve(request, response));
  #pages;
  #targetPort;
  /** Open connections of WebSockets, and the bytes of those that have ended. */
  #open = new Set();
  #ended = 0;

  constructor(pages, targetPort) {
    this.#pages = pages;
    this.#targetPort = targetPort;
    this.#server.on('upgrade', (request, socket, head) => this.#tunnel(request, socket, head));
  }

  static async to(targetPort, pages) {
    const front = new Front(pages, targetPort);
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    return front;
  }

  get address() {
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  /** Bytes of WebSockets so far, both ways. */
  get bytes() {
    let bytes = this.#ended;
    for (const socket of this.#open) bytes += bytesOf(socket);
    return bytes;
  }

  /** How many WebSockets are open. */
  get open() {
    return this.#open.size;
  }

  async close() {
    for (const socket of this.#open) socket.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(request, response) {
    const path = new URL(request.url, this.address).pathname;
    const file = join(this.#pages, normalize(path === '/' ? '/index.html' : path));
    if (!file.startsWith(this.#pages) || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  }

  #tunnel(request, socket, head) {
    this.#open.add(socket);
    const upstream = connect(this.#targetPort, '127.0.0.1');
    socket.on('close', () => {
      this.#open.delete(socket);
      this.#ended += bytesOf(socket);
      upstream.destroy();
    });
    socket.on('error', () => socket.destroy());
    upstream.on('error', () => socket.destroy());
    upstream.on('close', () => socket.destroy());
    upstream.write(requestText(request));
    upstream.write(head);
    socket.pipe(upstream);
    upstream.pipe(socket);
  }
}

function bytesOf(socket) {
  return socket.bytesRead + socket.bytesWritten;
}

function requestText({ method, url, rawHeaders }) {
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}
