import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * A network cable between browser and broker that can be pulled. The browser's own "offline" leaves open WebSockets
 * alive; this does not.
 *
 * - `pass`: everything goes through.
 * - `pages`: pages load, but every connection to `/mqtt` is reset, as if the page came from a cache.
 * - `cut`: every connection is reset.
 */
export class Line {
  #server;
  #targetPort;
  #mode = 'pass';
  /** Each accepted socket, and whether it carries MQTT (null: it has not said yet). */
  #sockets = new Map();

  constructor(server, targetPort) {
    this.#server = server;
    this.#targetPort = targetPort;
    server.on('connection', (socket) => this.#accept(socket));
  }

  static async to(targetPort) {
    const line = new Line(createServer(), targetPort);
    line.#server.listen(0, '127.0.0.1');
    await once(line.#server, 'listening');
    return line;
  }

  get port() {
    return this.#server.address().port;
  }

  set(mode) {
    this.#mode = mode;
    for (const [socket, carriesMqtt] of this.#sockets)
      if (!this.#allows(carriesMqtt)) socket.resetAndDestroy();
  }

  async close() {
    this.set('cut');
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #accept(socket) {
    this.#sockets.set(socket, null);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    if (!this.#allows(null)) socket.resetAndDestroy();
    else socket.once('data', (first) => this.#forward(socket, first));
  }

  /** The request line tells whether this connection will carry MQTT; browsers never reuse one for a WebSocket. */
  #forward(socket, first) {
    const carriesMqtt = first.toString('latin1').startsWith('GET /mqtt');
    this.#sockets.set(socket, carriesMqtt);
    if (!this.#allows(carriesMqtt)) {
      socket.resetAndDestroy();
      return;
    }
    const upstream = connect(this.#targetPort, '127.0.0.1');
    upstream.on('error', () => socket.destroy());
    upstream.on('close', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
    upstream.write(first);
    socket.pipe(upstream);
    upstream.pipe(socket);
  }

  #allows(carriesMqtt) {
    if (this.#mode === 'cut') return false;
    return this.#mode === 'pass' || carriesMqtt !== true;
  }
}
