// Node's own cluster: `node cluster.js WORKERS APP`. With NODE_CLUSTER_SCHED_POLICY=none its
// workers share the listening socket.
'use strict';
const cluster = require('node:cluster');

cluster.setupPrimary({ exec: process.argv[3] });
for (let count = Number(process.argv[2]); count > 0; count -= 1) cluster.fork();
