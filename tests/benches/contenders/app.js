// The Node program that every Node contender runs as it is. `/` answers three bytes, `/clock` the
// time, and `/busy` holds up its process first, for as many turns as LESSON_TURNS says.
'use strict';
const { createServer } = require('node:http');

const turns = Number(process.env.LESSON_TURNS ?? 0);

createServer((request, response) => {
  if (request.url === '/busy') for (let turn = 0; turn < turns; turn += 1);
  if (request.url === '/clock') return response.end(`${process.hrtime.bigint()}\n`);
  return response.end('ok\n');
}).listen(Number(process.env.PORT), '127.0.0.1');
