import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const WEB = fileURLToPath(new URL('..', import.meta.url));

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: WEB, encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stdout;
}

it('the package holds sources, what is built of them, and what says what it is', () => {
  const packed = run('npm', 'pack', '--dry-run', '--json', '--ignore-scripts');
  const [{ files }] = JSON.parse(packed) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path).filter((path) => !path.startsWith('dist/'));
  const others = paths.filter((path) => !path.startsWith('src/')).sort();
  expect(others).toEqual(['LICENSE', 'README.md', 'package.json']);
  expect(paths).toContain('src/index.ts');
});

it('what is built is loaded by Node as it is, without a bundler', () => {
  const folder = mkdtempSync(join(WEB, 'node_modules/.cache-pack-'));
  try {
    for (const config of ['tsconfig.build.json', 'tsconfig.bin.json'])
      run(process.execPath, 'node_modules/typescript/bin/tsc', '-p', config, '--outDir', folder);
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    symlinkSync(join(WEB, 'node_modules'), join(folder, 'node_modules'));
    const exported = (file: string, name: string): string => {
      const path = JSON.stringify(join(folder, file));
      return run(process.execPath, '-e', `import(${path}).then((all) => console.log(typeof all.${name}))`);
    };
    expect(exported('index.js', 'openSyncline')).toBe('function\n');
    expect(exported('node/index.js', 'fileStorage')).toBe('function\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
