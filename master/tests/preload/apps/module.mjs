// The same for a module of the newer kind, with an `await` at its top.
import { createRequire } from 'node:module';

await new Promise((resolve) => setImmediate(resolve));
const require = createRequire(import.meta.url);
console.log(JSON.stringify({
  url: import.meta.url,
  argv: process.argv.slice(1),
  env: Object.entries(process.env).sort(),
  cache: Object.keys(require.cache),
  main: require.main ?? null,
  stack: new Error('here').stack,
}));
process.disconnect();
