// Listens in every way there is, and says on the last server where the others are; it sends the
// master where that one is.
const { createServer } = require('node:http');
const net = require('node:net');
const dgram = require('node:dgram');

function listen(server, ...where) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(...where, () => resolve(server.address()));
  });
}

const answer = (request, response) => response.end(String(process.pid));

async function main() {
  const where = {};
  where.first = await listen(createServer(answer), 0, '127.0.0.1');
  where.second = await listen(createServer(answer), 0, '127.0.0.1');
  where.any = await listen(createServer(answer), 0);
  where.ipv6Only = await listen(createServer(answer), { port: 0, host: '::', ipv6Only: true });
  where.unix = await listen(createServer(answer), process.env.SOCKET_PATH);
  where.twice = await listen(createServer(answer), where.first.port, '127.0.0.1').catch(
    (error) => error.code,
  );
  where.busy = await listen(net.createServer(), Number(process.env.BUSY_PORT), '127.0.0.1').catch(
    (error) => `${error.code} ${error.syscall}`,
  );
  where.forbidden = await listen(net.createServer(), 0, '192.0.2.1').catch((error) => error.code);
  // Closed and opened again, which gives a new server.
  const again = createServer(answer);
  await listen(again, 0, '127.0.0.1');
  await new Promise((resolve) => again.close(resolve));
  where.again = await listen(again, 0, '127.0.0.1');
  const udp = dgram.createSocket('udp4');
  udp.on('message', (message, from) => udp.send(String(process.pid), from.port, from.address));
  await new Promise((resolve) => udp.bind(0, '127.0.0.1', resolve));
  where.udp = udp.address();
  const told = JSON.stringify(where);
  const server = createServer((request, response) => response.end(told));
  process.send(await listen(server, Number(process.env.PORT), '127.0.0.1'));
}

main();
