import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { until } from '../browser/support/until.mjs';
import { Front } from './front.mjs';

const ANSWER = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

test('every byte of a WebSocket is counted, both ways, while it is open and after it', async (test) => {
  const echo = createServer().on('upgrade', (_request, socket) => {
    socket.on('error', () => {});
    socket.write(ANSWER);
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  test.after(() => echo.close());
  const front = await Front.to(echo.address().port, '/nowhere');
  test.after(() => front.close());
  const client = connect(new URL(front.address).port, '127.0.0.1');
  test.after(() => client.destroy());
  const request = `GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  client.write(request);
  let received = 0;
  client.on('data', (bytes) => (received += bytes.length));
  await until('the handshake is answered', () => received === ANSWER.length);
  const sent = 100_000;
  client.write(Buffer.alloc(sent));
  await until('it came back', () => received === ANSWER.length + sent);
  const expected = request.length + ANSWER.length + 2 * sent;
  assert.equal(front.bytes, expected);
  client.destroy();
  await until('it has ended', () => front.open === 0);
  assert.equal(front.bytes, expected);
});
