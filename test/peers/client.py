# A client that uses python3-h2. It prints a line for each check.
import socket
import ssl
import sys
from urllib.parse import urlparse

import h2.config
import h2.connection
import h2.events

url, ca_file = sys.argv[1:3]
target = urlparse(url)
sock = socket.create_connection((target.hostname, target.port), timeout=30)
if target.scheme == 'https':
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(['h2'])
    sock = context.wrap_socket(sock, server_hostname=target.hostname)
    assert sock.selected_alpn_protocol() == 'h2'
conn = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True, header_encoding='utf-8'))
conn.initiate_connection()
sock.sendall(conn.data_to_send())
large = b'0123456789abcdef' * 65536
responses = {}


class Response:
    def __init__(self):
        self.status, self.body, self.trailers, self.ended, self.reset = None, b'', {}, False, None


def receive():
    data = sock.recv(65536)
    if not data:
        raise EOFError('the connection ended')
    for event in conn.receive_data(data):
        if isinstance(event, h2.events.PingAckReceived):
            responses['ping'] = True
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise EOFError('GOAWAY with %s' % event.error_code)
        r = responses.get(getattr(event, 'stream_id', None))
        if r is None:
            continue
        if isinstance(event, h2.events.ResponseReceived):
            r.status = int(dict(event.headers)[':status'])
        elif isinstance(event, h2.events.DataReceived):
            r.body += event.data
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            r.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            r.ended = True
        elif isinstance(event, h2.events.StreamReset):
            r.ended, r.reset = True, event.error_code
    sock.sendall(conn.data_to_send())


def begin(method, path, body=None, trailers=None):
    stream = conn.get_next_available_stream_id()
    headers = [(':method', method), (':scheme', target.scheme), (':authority', target.netloc), (':path', path)]
    responses[stream] = r = Response()
    conn.send_headers(stream, headers, end_stream=body is None)
    while body:
        room = min(conn.local_flow_control_window(stream), conn.max_outbound_frame_size, len(body))
        if room == 0:
            sock.sendall(conn.data_to_send())
            receive()
            continue
        conn.send_data(stream, body[:room])
        body = body[room:]
    if trailers is not None:
        conn.send_headers(stream, trailers, end_stream=True)
    elif body is not None:
        conn.end_stream(stream)
    sock.sendall(conn.data_to_send())
    return stream, r


def finish(r):
    while not r.ended:
        receive()
    return r


def request(*args):
    return finish(begin(*args)[1])


def check(name, f):
    try:
        problem = f()
    except Exception as e:  # the connection may be unusable: later checks fail, too
        problem = repr(e)
    print('failed %s: %s' % (name, problem) if problem else 'ok ' + name)


def get():
    r = request('GET', '/large')
    return '' if r.status == 200 and r.body == large else 'status %s, %d bytes' % (r.status, len(r.body))


def post():
    r = request('POST', '/echo', large)
    return '' if r.status == 200 and r.body == large else 'status %s, %d bytes' % (r.status, len(r.body))


def trailers():
    r = request('POST', '/trailers', b'hello', [('x-sum', '7')])
    return '' if r.body == b'5' and r.trailers.get('x-sum') == '7' else 'body %r, trailers %r' % (r.body, r.trailers)


def many():
    all = [begin('POST', '/echo', b'body %d' % i)[1] for i in range(50)]
    wrong = [i for i, r in enumerate(all) if finish(r).body != b'body %d' % i]
    return 'wrong responses: %r' % wrong if wrong else ''


def cancel():
    stream, _ = begin('GET', '/wait')
    conn.reset_stream(stream, error_code=8)
    sock.sendall(conn.data_to_send())
    del responses[stream]
    return ''


def ping():
    conn.ping(b'12345678')
    sock.sendall(conn.data_to_send())
    while 'ping' not in responses:
        receive()
    return ''


def missing():
    r = request('GET', '/missing')
    return '' if r.status == 404 else 'status %s' % r.status


for name, f in [('GET 1 MiB', get), ('POST 1 MiB', post), ('trailers', trailers), ('50 at a time', many), ('cancel', cancel), ('PING', ping), ('after all that', missing)]:
    check(name, f)
conn.close_connection()
sock.sendall(conn.data_to_send())
print('done')
