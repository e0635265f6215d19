import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const QUIET = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A browser whose contexts are strangers to one another. */
export async function openBrowser(...flags) {
  return chromium.launch({ executablePath: EXECUTABLE, args: [...QUIET, ...flags] });
}

/** A browser profile on disk: what a page stores outlives the browser. */
export class Profile {
  #folder;
  #context = null;

  constructor(folder) {
    this.#folder = folder;
  }

  static async create() {
    return new Profile(await mkdtemp(join(tmpdir(), 'syncline-profile-')));
  }

  /** Starts the browser with this profile. */
  async open() {
    this.#context = await chromium.launchPersistentContext(this.#folder, {
      executablePath: EXECUTABLE,
      args: QUIET,
    });
    return this.#context;
  }

  /** Ends the browser. */
  async close() {
    await this.#context?.close();
    this.#context = null;
  }

  async remove() {
    await this.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
