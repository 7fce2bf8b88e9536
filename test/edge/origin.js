// An origin. It writes every request down before it responds, so that a kill loses no record: kill -9 does not lose written bytes.
const fs = require('fs')
const http = require('http')
const [name, port, file] = process.argv.slice(2)
const records = fs.openSync(file, 'a')
const server = http.createServer((req, res) => {
  if (req.url === '/ready') return res.end('ok\n')
  const route = req.headers['x-route'] || '-'
  fs.writeSync(records, `${req.method} ${req.url} ${route}\n`)
  req.resume()
  req.on('end', () => {
    res.setHeader('X-Origin', name)
    res.setHeader('X-Saw-Route', route)
    res.end(`${name} ${route} ${req.url}\n`)
  })
})
server.keepAliveTimeout = 120_000
server.listen(port, '127.0.0.1')
