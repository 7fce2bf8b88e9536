// A hundred paths that would do something if they were ever taken for markup, script, style or a link, and a way to send
// them as they are: an HTTP client would tidy them up.
import { connect } from "node:net";

const payload = "window.broken=1;alert(1)";
const shapes = [
  (n) => `/<script>${payload}</script>${n}`, (n) => `/"><img/src=x/onerror="${payload}">${n}`, (n) => `/'><svg/onload='${payload}'>${n}`,
  (n) => `/javascript:${payload}//${n}`, (n) => `/<iframe/srcdoc="<script>${payload}</script>">${n}`, (n) => `/</title><script>${payload}</script>${n}`,
  (n) => `/</script><script>${payload}</script>${n}`, (n) => `/<a/href="javascript:${payload}">${n}</a>`, (n) => `/<style>@import"http://evil.example/${n}";</style>`,
  (n) => `/<link/rel=stylesheet/href=http://evil.example/${n}>`, (n) => `/<base/href=http://evil.example/${n}>`, (n) => `/<meta/http-equiv=refresh/content="0;url=http://evil.example/${n}">`,
  (n) => `/<body/onload=${payload}>${n}`, (n) => `/<details/open/ontoggle=${payload}>${n}`, (n) => `/<input/autofocus/onfocus=${payload}>${n}`,
  (n) => `/\${${payload}}{{${payload}}}${n}`, (n) => `/%3Cscript%3E${payload}%3C/script%3E${n}`, (n) => `/\\"-${payload}-\\"${n}`,
  (n) => `/]]><script>${payload}</script>${n}`, (n) => `/__proto__/constructor/${n}<b>`,
];

/** Every second one is where the sample application answers 200, as the name of an order: what is only ever 404 gets no row. */
export const hostilePaths = Array.from({ length: 100 }, (_, i) => {
  const path = shapes[i % shapes.length](`h${Math.floor(i / shapes.length)}`);
  return i < 50 ? path : "/users/1/orders/" + path.slice(1).replaceAll("/", "%2F");
});

/** Sends every path, and a hostile Host with each tenth. Resolves to the number of answers. */
export async function sendHostile(address) {
  const [host, port] = address.split(":");
  let answers = 0;
  for (const [i, path] of hostilePaths.entries()) {
    await new Promise((done, fail) => {
      const socket = connect(Number(port), host);
      socket.on("error", fail);
      socket.on("data", () => {});
      socket.on("close", done);
      socket.setTimeout(5000, () => socket.destroy());
      const name = i % 10 === 9 ? `<img-src=x-onerror=alert(1)>${i}.example` : "shop.example";
      socket.write(`GET ${i % 10 === 9 ? "/" : path} HTTP/1.1\r\nHost: ${name}\r\nUser-Agent: <script>${payload}</script>\r\nReferer: <img src=x onerror=${payload}>\r\nConnection: close\r\n\r\n`);
      socket.once("data", () => answers++);
    });
  }
  return answers;
}
