// socket.io by long polling: every request is a connection of its own, and all of one client must
// come to the process that knows its session.
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const server = createServer((request, response) => response.end(String(process.pid)));
const io = new Server(server, { transports: ['polling'] });
io.on('connection', (socket) => socket.emit('greeting', process.pid));
server.listen(Number(process.env.PORT), '127.0.0.1');
