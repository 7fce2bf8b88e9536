// A WebSocket client and a WebSocket server on node's http2 module. Usage:
//   node peer.mjs client URL CA-FILE SOCKETS    opens SOCKETS WebSockets on one HTTP/2 connection, and checks that messages come back
//   node peer.mjs server                        prints its port; sends every message back
import http2 from 'node:http2';
import fs from 'node:fs';
import crypto from 'node:crypto';

const TEXT = 1, CLOSE = 8;

// frame encodes a message as one frame (RFC 6455, section 5.2).
function frame(opcode, payload, masked) {
  const head = [0x80 | opcode], n = payload.length, bit = masked ? 0x80 : 0;
  if (n < 126) head.push(bit | n);
  else if (n < 65536) head.push(bit | 126, n >> 8, n & 255);
  else head.push(bit | 127, 0, 0, 0, 0, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255);
  if (!masked) return Buffer.concat([Buffer.from(head), payload]);
  const key = crypto.randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, payload.map((b, i) => b ^ key[i & 3])]);
}

// Reader calls onMessage(opcode, payload) for each frame. Messages in several frames are not needed here.
class Reader {
  constructor(onMessage) {
    this.onMessage = onMessage;
    this.buffer = Buffer.alloc(0);
  }
  push(data) {
    this.buffer = Buffer.concat([this.buffer, data]);
    while (this.next());
  }
  next() {
    const b = this.buffer;
    if (b.length < 2) return false;
    let at = 2, n = b[1] & 127;
    if (n == 126) {
      if (b.length < 4) return false;
      n = b.readUInt16BE(2), at = 4;
    } else if (n == 127) {
      if (b.length < 10) return false;
      n = Number(b.readBigUInt64BE(2)), at = 10;
    }
    const masked = b[1] & 128;
    if (b.length < at + n + (masked ? 4 : 0)) return false;
    const key = masked ? b.subarray(at, at += 4) : null;
    const payload = Buffer.from(b.subarray(at, at + n));
    if (key) payload.forEach((byte, i) => payload[i] = byte ^ key[i & 3]);
    this.buffer = b.subarray(at + n);
    this.onMessage(b[0] & 15, payload);
    return true;
  }
}

function serve() {
  const server = http2.createServer({settings: {enableConnectProtocol: true}});
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    if (headers[':method'] != 'CONNECT' || headers[':protocol'] != 'websocket' || 'sec-websocket-key' in headers) {
      stream.respond({':status': 400}, {endStream: true});
      return;
    }
    stream.respond({':status': 200});
    const reader = new Reader((opcode, payload) => {
      stream.write(frame(opcode, payload, false));
      if (opcode == CLOSE) stream.end();
    });
    stream.on('data', data => reader.push(data));
    stream.on('end', () => stream.end());
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
}

const messages = ['hello', '', 'x'.repeat(300), 'abc'.repeat(50000)];

// talk opens a WebSocket, and resolves when it has been closed as it should.
function talk(session, path) {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': path, 'sec-websocket-version': '13',
    }, {endStream: false});
    let echoed = 0, closed = false;
    const reader = new Reader((opcode, payload) => {
      if (opcode == CLOSE) {
        closed = true;
        stream.end();
        return;
      }
      if (opcode != TEXT || payload.toString() != messages[echoed]) {
        reject(new Error(`message ${echoed} came back as ${payload.length} bytes`));
        return;
      }
      if (++echoed < messages.length) stream.write(frame(TEXT, Buffer.from(messages[echoed]), true));
      else stream.write(frame(CLOSE, Buffer.from([3, 232]), true));
    });
    stream.on('response', headers => {
      if (headers[':status'] != 200 || 'sec-websocket-accept' in headers || 'upgrade' in headers) {
        reject(new Error('response ' + JSON.stringify(headers)));
        return;
      }
      stream.write(frame(TEXT, Buffer.from(messages[0]), true));
    });
    stream.on('data', data => reader.push(data));
    stream.on('error', reject);
    stream.on('close', () => {
      if (closed && stream.rstCode == 0) resolve();
      else reject(new Error(`closed with code ${stream.rstCode} after ${echoed} messages`));
    });
  });
}

async function connect(url, ca, sockets) {
  const session = http2.connect(url, {ca: fs.readFileSync(ca)});
  const settings = await new Promise((resolve, reject) => {
    session.on('error', reject);
    session.on('remoteSettings', resolve);
  });
  if (!settings.enableConnectProtocol) throw new Error('the setting is missing');
  await Promise.all(Array.from({length: sockets}, (_, i) => talk(session, '/socket/' + i)));
  await new Promise(resolve => session.close(resolve));
  console.log('ok');
}

const [mode, url, ca, sockets] = process.argv.slice(2);
if (mode == 'server') serve();
else connect(url, ca, Number(sockets)).catch(error => {
  console.error(error);
  process.exit(1);
});
