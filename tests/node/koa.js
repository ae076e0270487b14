const Koa = require('koa');

const app = new Koa();
app.use((context) => {
  context.body = String(process.pid);
});
app.listen(Number(process.env.PORT), '127.0.0.1');
