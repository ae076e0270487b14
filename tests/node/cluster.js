// Two workers of Node's own cluster; the primary says where they listen and who they are.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
  let listening = 0;
  cluster.on('listening', (worker, address) => {
    listening += 1;
    if (listening === 2) {
      const pids = Object.values(cluster.workers).map(({ process }) => process.pid);
      console.log(JSON.stringify({ port: address.port, pids }));
    }
  });
} else {
  http.createServer((request, response) => {
    response.end(`${process.pid}`);
  }).listen(0, '127.0.0.1');
}
