// HTTPS; KEY and CERT name the files. Session tickets are shared by way of the master.
const { createServer } = require('node:https');
const { readFileSync } = require('node:fs');

const options = { key: readFileSync(process.env.KEY), cert: readFileSync(process.env.CERT) };
createServer(options, (request, response) => response.end(String(process.pid))).listen(
  Number(process.env.PORT),
  '127.0.0.1',
);
