// Resumes one TLS session again and again; prints who answered, and whether it was resumed.
import tls from 'node:tls';

const [host, port] = process.argv[2].split(':');
const times = Number(process.argv[3]);

function ask(session) {
  return new Promise((resolve, reject) => {
    const options = { host, port: Number(port), session, rejectUnauthorized: false };
    const socket = tls.connect({ ...options, maxVersion: 'TLSv1.2' }, () => {
      socket.write('GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
    });
    let text = '';
    socket.on('data', (data) => (text += data));
    socket.on('end', () => {
      const pid = text.match(/\r\n(\d+)(\r\n0)?[\r\n]*$/)?.[1];
      resolve({ pid, resumed: socket.isSessionReused(), session: socket.getSession() });
    });
    socket.on('error', reject);
  });
}

let session;
for (let i = 0; i < times; i += 1) {
  const answer = await ask(session);
  session ??= answer.session;
  console.log(answer.pid, answer.resumed);
}
