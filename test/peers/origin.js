// An application that speaks HTTP/2 with node's http2: in cleartext or, with a certificate, over TLS. origin.go describes its paths.
const fs = require('fs')
const http2 = require('http2')
const [port, cert, key] = process.argv.slice(2)
const large = '0123456789abcdef'.repeat(65536)
const server = cert ? http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }) : http2.createServer()
server.on('stream', (stream, headers) => {
  stream.on('error', () => {})
  const path = headers[':path'].split('?')[0]
  if (headers[':method'] === 'HEAD') return stream.respond({ ':status': 200, 'content-length': large.length }, { endStream: true })
  switch (path) {
    case '/large':
      stream.respond({ ':status': 200, 'content-length': large.length })
      return stream.end(large)
    case '/wait':
      return
    case '/missing':
      return stream.respond({ ':status': 404 }, { endStream: true })
  }
  const parts = []
  let sum = ''
  stream.on('data', d => parts.push(d))
  stream.on('trailers', h => { sum = h['x-sum'] })
  stream.on('end', () => {
    const body = Buffer.concat(parts)
    if (path !== '/trailers') {
      stream.respond({ ':status': 200 })
      return stream.end(body)
    }
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': sum }))
    stream.end(String(body.length))
  })
})
server.listen(Number(port), '127.0.0.1')
