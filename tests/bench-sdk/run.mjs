// What the clients cost: enqueueing, the first render from disk, and bytes on the wire. Medians of several runs, in one table.
// `cargo xtask bench sdk` builds what this needs and starts it. Nothing is asserted about time.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Broker } from '../browser/support/broker.mjs';
import { Front } from './front.mjs';
import { measureBytes } from './bytes.mjs';
import { measureDevice } from './device.mjs';
import { Figures, tableOf } from './table.mjs';
import { TITLES } from './titles.mjs';
import { YjsServer } from './yjs-server.mjs';

const PAGES = fileURLToPath(new URL('page/dist', import.meta.url));
const RUST = 'Syncline, Rust';
const OURS = 'Syncline, web';
const THEIRS = 'Yjs';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    entries: { type: 'string', default: '10000' },
  },
});
const runs = Number(values.runs);
const entries = Number(values.entries);

const figures = new Figures();
await measureRust();
await measureWeb();
console.log(`\nA map of ${entries.toLocaleString('en-US')} entries; medians of ${runs} runs\n`);
console.log(tableOf(figures, TITLES, [RUST, OURS, THEIRS]));

async function measureRust() {
  const program = process.env.SYNCLINE_BENCH_SDK;
  if (!program) {
    console.log('SYNCLINE_BENCH_SDK names no program: without the client in Rust');
    return;
  }
  const { stdout } = await promisify(execFile)(program, ['--runs', String(runs), '--entries', String(entries)]);
  for (const line of stdout.trim().split('\n')) {
    const [title, figure] = line.split('\t');
    told(0, title, RUST, Number(figure));
  }
}

async function measureWeb() {
  const broker = await Broker.start();
  const server = await YjsServer.start();
  const sides = [
    await side('ours', OURS, broker.httpPort),
    await side('theirs', THEIRS, server.port),
  ];
  try {
    for (let run = 1; run <= runs; run++)
      for (const side of sides) {
        const tell = (title, figure) => told(run, title, side.who, figure);
        await measureBytes({ ...side, group: `bytes-${run}`, entries, tell });
        if (side.name === 'ours') await measureDevice({ ...side, group: `device-${run}`, tell });
      }
  } finally {
    for (const { front, writerFront } of sides) await Promise.all([front.close(), writerFront.close()]);
    await server.stop();
    await broker.stop();
  }
}

/** The writer has a way of its own, so that what it is told is not counted. */
async function side(name, who, port) {
  return { name, who, front: await Front.to(port, PAGES), writerFront: await Front.to(port, PAGES) };
}

function told(run, title, who, figure) {
  figures.add(title, who, figure);
  console.log(`  ${run === 0 ? '' : `run ${run} `}${title} ${who}: ${figure.toFixed(2)}`);
}
