/**
 * One process per folder.
 *
 * The holder is named by a file `lock.<n>`. Who finds none, or one whose process is gone, creates the next, which only one can;
 * the highest is never deleted, so whoever finds that its own is not the highest has come too late. A process is known by its
 * id and, on Linux, by when it started, since ids come again. Containers with process ids of their own are not kept apart.
 */
import { linkSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

/** Folders that this process holds. */
const held = new Set<string>();

interface Holder {
  readonly pid: number;
  /** Since when, in ticks since the machine started, and which start of the machine; empty: this system does not say. */
  readonly started: string;
}

/** Takes a folder, which is there. Throws an `Error` that names who has it. Returns how to give it back. */
export function lock(folder: string): () => void {
  if (held.has(folder)) throw busy(folder, 'this process has it open already: close that client first');
  for (;;) {
    const last = highest(folder);
    if (last > 0) refuseIfAlive(folder, last);
    if (create(folder, last + 1) && highest(folder) === last + 1) {
      if (last > 0) rmSync(name(folder, last), { force: true });
      held.add(folder);
      return () => {
        if (held.delete(folder)) writeFileSync(name(folder, last + 1), 'free');
      };
    }
  }
}

function refuseIfAlive(folder: string, n: number): void {
  const holder = read(folder, n);
  if (holder === undefined || !isAlive(holder)) return;
  throw busy(folder, `process ${holder.pid} has it: end that, or give this one a folder of its own`);
}

function busy(folder: string, who: string): Error {
  return new Error(`${folder} is one process's at a time, and ${who}`);
}

function name(folder: string, n: number): string {
  return join(folder, `lock.${n}`);
}

function highest(folder: string): number {
  const numbers = readdirSync(folder).map((file) => Number(/^lock\.(\d+)$/.exec(file)?.[1] ?? 0));
  return Math.max(0, ...numbers);
}

/** Whole or not at all, and only if nobody else has. */
function create(folder: string, n: number): boolean {
  const draft = join(folder, `draft.${randomUUID()}`);
  const holder: Holder = { pid: process.pid, started: startOf(process.pid) };
  writeFileSync(draft, JSON.stringify(holder), { mode: 0o600 });
  try {
    linkSync(draft, name(folder, n));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** undefined: given back, or cut short with the machine. */
function read(folder: string, n: number): Holder | undefined {
  try {
    return JSON.parse(readFileSync(name(folder, n), 'utf8')) as Holder;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const now = startOf(pid);
  if (started !== '' && now !== '') return now === started;
  // It is not in `held`, so an earlier process had this one's id.
  return pid !== process.pid;
}

function startOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may hold anything; the 20th field behind it is the time.
    return `${boot} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return '';
  }
}
