/** The examples are type-checked and built as an app would build them; nothing is written. */
import { spawnSync } from 'node:child_process';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build, type Rolldown } from 'vite';
import { expect, it } from 'vitest';

const WEB = `${import.meta.dirname}/..`;

async function built(example: string): Promise<string> {
  const output = await build({
    configFile: false,
    logLevel: 'silent',
    root: `${import.meta.dirname}/${example}`,
    resolve: { alias: { '@syncline/client': `${WEB}/src/index.ts` } },
    plugins: example === 'svelte' ? [svelte({ configFile: false })] : [],
    build: { write: false, target: 'es2022' },
  });
  const [first] = [output].flat() as Rolldown.RolldownOutput[];
  return (first?.output ?? []).map((chunk) => (chunk.type === 'chunk' ? chunk.code : '')).join('');
}

it.each(['vanilla', 'svelte'])('the example in %s is built', async (example) => {
  const code = await built(example);
  expect(code).toContain('not saved yet');
  expect(code).toContain('Unstar');
});

it('the example in Svelte is of the right types', () => {
  const check = ['node_modules/svelte-check/bin/svelte-check', '--tsconfig', 'examples/svelte/tsconfig.json'];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...check, '--fail-on-warnings', '--output', 'machine'],
    { cwd: WEB, encoding: 'utf8' },
  );
  expect(status, `${stdout}${stderr}`).toBe(0);
}, 30_000);
