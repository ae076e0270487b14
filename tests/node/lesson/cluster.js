// The lesson's cluster: a worker a processor, and another one for each that crashes. Under maitred
// its worker branch runs, since NODE_UNIQUE_ID is set.
const cluster = require('cluster');
const os = require('os');

if (cluster.isMaster) {
  console.log(`Master ${process.pid} is running`);
  for (let i = 0; i < os.cpus().length; i++) {
    cluster.fork();
  }
  cluster.on('exit', (worker, code) => {
    console.log(`Worker ${worker.process.pid} died`);
    if (code !== 0 && !worker.exitedAfterDisconnect) cluster.fork();
  });
} else {
  require('./server');
}
