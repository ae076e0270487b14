// Each worker takes only so many connections at a time: the limits stand in LIMITS, by slot. It
// greets with its slot, and with the number of its Node: up to 20 a limit of 0 is none.
const net = require('node:net');

const limits = process.env.LIMITS.split(',').map(Number);
const greeting = `${process.env.NODE_APP_INSTANCE} ${parseInt(process.version.slice(1))}\n`;
const server = net.createServer((socket) => socket.write(greeting));
server.maxConnections = limits[Number(process.env.NODE_APP_INSTANCE)];
server.listen(Number(process.env.PORT), '127.0.0.1');
