"""A real web server on 127.0.0.1 that does, request by request, what a test plans: whole files, halves, nothing, lies."""

import contextlib
import http.server
import threading


class Server:
    """``files`` by path, ``plan`` for the next requests (then ``whole``), ``asked`` (path, Range) of those that came."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.files, self.plan, self.asked = {}, [], []
        self.go_on = threading.Event()  # what `waiting` waits for


@contextlib.contextmanager
def serving():
    """A :class:`Server` while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # with `Connection: close`, see `answer`

        def do_GET(self):
            server.asked.append((self.path, self.headers.get("Range")))
            act = server.plan.pop(0) if server.plan else whole
            self.state = server
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has gone
                act(self, server.files.get(self.path))
            self.close_connection = True

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.daemon_threads = True
        server = Server(web.server_port)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.go_on.set()
        web.shutdown()
        thread.join()


def answer(handler, status, payload=b"", **headers):
    """Status, headers (``_`` stands for ``-``) and bytes."""
    handler.send_response(status)
    for name, value in {"Connection": "close", **headers}.items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(payload)
    handler.wfile.flush()


def begin_of(handler):
    """Where the client wants to begin."""
    return int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))


def rest(handler, body, sent):
    """From where the client wants it; ``sent`` of the bytes that the headers announce."""
    begin = begin_of(handler)
    length = len(body) - begin
    if handler.headers.get("Range"):
        place = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        answer(handler, 206, body[begin : begin + sent(length)], Content_Length=length, Content_Range=place)
    else:
        answer(handler, 200, body[: sent(length)], Content_Length=length)


def whole(handler, body):
    """As it should be."""
    if body is None:
        answer(handler, 404, Content_Length=0)
    elif 0 < len(body) <= begin_of(handler):
        answer(handler, 416, Content_Length=0, Content_Range=f"bytes */{len(body)}")
    else:
        rest(handler, body, lambda length: length)


def half(handler, body):
    """Announces all that is left and sends half of it."""
    rest(handler, body, lambda length: length // 2)


def nothing(handler, body):
    """Announces all that is left and sends none of it."""
    rest(handler, body, lambda length: 0)


def no_range(handler, body):
    """Everything, whatever was asked for."""
    answer(handler, 200, body, Content_Length=len(body))


def half_without_range(handler, body):
    """The first half, whatever was asked for."""
    answer(handler, 200, body[: len(body) // 2], Content_Length=len(body))


def waiting(handler, body):
    """Half, then silence until the test goes on, then the other half."""
    begin = begin_of(handler)
    middle = (begin + len(body)) // 2
    rest(handler, body, lambda length: middle - begin)
    handler.state.go_on.wait(20)
    handler.wfile.write(body[middle:])


def unfinished_chunks(handler, body):
    """Half of it in chunks, without the last one, which says that it is the last."""
    part = body[: len(body) // 2]
    answer(handler, 200, b"%x\r\n%s\r\n" % (len(part), part), Transfer_Encoding="chunked")


def half_without_length(handler, body):
    """Half of it; that it is half nobody can tell."""
    answer(handler, 200, body[: len(body) // 2])


def named_as_packed(handler, body):
    """Says of a gzip file that it was packed for the journey, as some servers do."""
    answer(handler, 200, body, Content_Length=len(body), Content_Encoding="gzip")


def of_length(text):
    """Everything, with this instead of its length."""
    return lambda handler, body: answer(handler, 200, body, Content_Length=text)


def from_elsewhere(shift):
    """An answer to a Range request that begins ``shift`` bytes further on."""

    def act(handler, body):
        begin = begin_of(handler) + shift
        place = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        answer(handler, 206, body[begin:], Content_Length=len(body) - begin, Content_Range=place)

    return act


def a_part_of_the_rest(handler, body):
    """Less than was asked for, and it says so: the other half of the rest has to be asked for again."""
    begin = begin_of(handler)
    end = (begin + len(body)) // 2
    place = f"bytes {begin}-{end - 1}/{len(body)}"
    answer(handler, 206, body[begin:end], Content_Length=end - begin, Content_Range=place)


def without_place(handler, body):
    """Code 206, but not where in the file it belongs; it is the whole."""
    answer(handler, 206, body, Content_Length=len(body))


def instead(other):
    """Other bytes."""
    return lambda handler, body: answer(handler, 200, other, Content_Length=len(other))


def status(code):
    """An answer that says no."""
    return lambda handler, body: answer(handler, code, Content_Length=0)


def redirect(code, place):
    """It is elsewhere."""
    return lambda handler, body: answer(handler, code, Content_Length=0, Location=place)
