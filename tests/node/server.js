// The lesson's cluster, as everybody writes it: its worker branch runs under maitred, since
// NODE_UNIQUE_ID is set.
const cluster = require('cluster');
const http = require('http');
const numCPUs = require('os').cpus().length;

if (cluster.isMaster) {
  console.log(`Master ${process.pid} is running`);
  for (let i = 0; i < numCPUs; i++) {
    cluster.fork();
  }
  cluster.on('exit', (worker) => {
    console.log(`worker ${worker.process.pid} died`);
    cluster.fork();
  });
} else {
  http.createServer((req, res) => {
    if (req.url === '/crash') process.exit(1);
    res.end(`worker ${process.pid}\n`);
  }).listen(Number(process.env.PORT), '127.0.0.1');
  console.log(`Worker ${process.pid} started`);
}
