// Each worker takes only so many connections at a time: the limits stand in LIMITS, by slot.
const net = require('node:net');

const limits = process.env.LIMITS.split(',').map(Number);
const server = net.createServer((socket) => socket.write(`${process.env.NODE_APP_INSTANCE}\n`));
server.maxConnections = limits[Number(process.env.NODE_APP_INSTANCE)];
server.listen(Number(process.env.PORT), '127.0.0.1');
