import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Publishes an event with Mosquitto's own client; resolves once the broker has acknowledged it. */
export async function publish(broker, syncId, event) {
  const topic = `sync/${syncId}/events`;
  await run('mosquitto_pub', [...at(broker), '-q', '1', '-t', topic, '-m', JSON.stringify(event)]);
}

/** Collects the events of a group, from its first one on, as Mosquitto's own client prints them. */
export class Watcher {
  #process;
  events = [];

  constructor(broker, syncId) {
    const filter = `$json/$since/0/sync/${syncId}/events`;
    this.#process = spawn('mosquitto_sub', [...at(broker), '-q', '1', '-t', filter], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.events.push(JSON.parse(line)));
  }

  close() {
    this.#process.kill();
  }
}

function at(broker) {
  return ['-h', '127.0.0.1', '-p', String(broker.mqttPort)];
}
