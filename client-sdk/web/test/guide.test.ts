import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const GUIDE = join(ROOT, '../../docs/guide');

/** The blocks of TypeScript on a page, each a module of its own that stands beside this file. */
function blocksOf(page: string): Map<string, string> {
  const text = readFileSync(join(GUIDE, page), 'utf8');
  const blocks = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code ?? '');
  return new Map(blocks.map((code, at) => [join(ROOT, 'test', `${page} block ${at + 1}.ts`), code]));
}

/** What the compiler says of modules that are on no disk, under the strict options of this package. */
function complaints(modules: ReadonlyMap<string, string>): string[] {
  const configuration = join(ROOT, 'tsconfig.json');
  const { config } = ts.readConfigFile(configuration, ts.sys.readFile) as { config: object };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, dirname(configuration));
  const settings: ts.CompilerOptions = {
    ...options,
    noEmit: true,
    paths: { '@syncline/client': [join(ROOT, 'src/index.ts')] },
  };
  const host = ts.createCompilerHost(settings);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => modules.has(name) || fileExists(name);
  host.readFile = (name) => modules.get(name) ?? readFile(name);
  host.getSourceFile = (name, version, ...rest) => {
    const code = modules.get(name);
    return code === undefined
      ? getSourceFile(name, version, ...rest)
      : ts.createSourceFile(name, code, version);
  };
  const program = ts.createProgram([...modules.keys()], settings, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${file?.fileName ?? ''}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}

test('every block of TypeScript in the guide compiles', { timeout: 60_000 }, () => {
  const modules = new Map(readdirSync(GUIDE).flatMap((page) => [...blocksOf(page)]));
  expect(modules.size).toBeGreaterThan(5);
  const wrong = new Map([
    [join(ROOT, 'test', 'wrong.ts'), `import { openSyncline } from '@syncline/client';\nopenSyncline(1);`],
  ]);
  expect(complaints(new Map([...modules, ...wrong]))).toEqual([
    expect.stringMatching(/wrong\.ts:2: Argument of type 'number' is not assignable/),
  ]);
});
