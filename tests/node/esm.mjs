// An ES module: no `require`, and an `await` at the top.
import { createServer } from 'node:http';

const answer = await Promise.resolve(String(process.pid));
createServer((request, response) => response.end(answer)).listen(
  Number(process.env.PORT),
  '127.0.0.1',
);
