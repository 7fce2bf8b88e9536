// A client that uses node's http2. It prints a line for each check.
const fs = require('fs')
const http2 = require('http2')
const [url, caFile] = process.argv.slice(2)
const options = url.startsWith('https') ? { ca: fs.readFileSync(caFile) } : {}
const large = '0123456789abcdef'.repeat(65536)

const session = http2.connect(url, options)
session.on('error', err => { console.log('failed connection: ' + err.message); process.exit(1) })

// request sends a request and returns status, body and trailers.
function request (headers, body, trailers) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined, waitForTrailers: trailers !== undefined })
    const result = { body: '', trailers: {} }
    stream.setEncoding('latin1')
    stream.on('response', h => { result.status = h[':status'] })
    stream.on('data', d => { result.body += d })
    stream.on('trailers', h => { result.trailers = h })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    stream.on('error', reject)
    stream.on('end', () => resolve(result))
    if (body !== undefined) stream.end(body)
  })
}

async function check (name, f) {
  try {
    const problem = await f()
    console.log(problem ? `failed ${name}: ${problem}` : `ok ${name}`)
  } catch (err) {
    console.log(`failed ${name}: ${err.message}`)
  }
}

async function main () {
  await check('GET 1 MiB', async () => {
    const r = await request({ ':path': '/large' })
    return r.status === 200 && r.body === large ? '' : `status ${r.status}, ${r.body.length} bytes`
  })
  await check('POST 1 MiB', async () => {
    const r = await request({ ':path': '/echo', ':method': 'POST' }, large)
    return r.status === 200 && r.body === large ? '' : `status ${r.status}, ${r.body.length} bytes`
  })
  await check('trailers', async () => {
    const r = await request({ ':path': '/trailers', ':method': 'POST' }, 'hello', { 'x-sum': '7' })
    return r.body === '5' && r.trailers['x-sum'] === '7' ? '' : `body ${r.body}, trailers ${JSON.stringify(r.trailers)}`
  })
  await check('100 at a time', async () => {
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => request({ ':path': '/echo', ':method': 'POST' }, 'body ' + i)))
    const wrong = all.filter((r, i) => r.status !== 200 || r.body !== 'body ' + i)
    return wrong.length ? `${wrong.length} wrong responses` : ''
  })
  await check('cancel', () => new Promise(resolve => {
    const stream = session.request({ ':path': '/wait' })
    stream.on('close', () => resolve(''))
    stream.on('error', () => {})
    setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 50)
  }))
  await check('PING', () => new Promise(resolve => session.ping((err) => resolve(err ? err.message : ''))))
  await check('after all that', async () => {
    const r = await request({ ':path': '/missing' })
    return r.status === 404 ? '' : `status ${r.status}`
  })
  session.close(() => console.log('done'))
}
main()
