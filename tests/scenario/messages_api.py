"""A scripted Messages API on loopback: what the claude CLI needs of it for a run, streamed. Each turn
of a conversation is taken from a list; what was asked is kept."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = {"input_tokens": 120, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 900}


class Turn:
    """One answer of the model. tool: (name, input) or None; text; wait_s before it begins."""

    def __init__(self, text="", tool=None, wait_s=0, output_tokens=25):
        self.text, self.tool, self.wait_s, self.output_tokens = text, tool, wait_s, output_tokens


class Refusal:
    """An HTTP error. retry: whether the client may try again."""

    def __init__(self, status, kind, message="simulated", retry=False, **headers):
        self.status, self.kind, self.message, self.retry = status, kind, message, retry
        self.headers = headers


class MessagesApi:
    """turns: answers in order; the last one is repeated for ever. asked: (path, body) of each
    request for a message."""

    def __init__(self, turns):
        self.turns, self.given, self.asked, self.lock = list(turns), 0, [], threading.Lock()
        self.seen_headers = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                self.plain(404, {"type": "error", "error": {"type": "not_found_error",
                                                            "message": "no such thing"}})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
                if "count_tokens" in self.path:
                    self.plain(200, {"input_tokens": 100})
                elif not self.path.startswith("/v1/messages"):
                    self.plain(404, {})
                else:
                    api.answer(self, body)

            def plain(self, status, document, headers=None):
                text = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def turn_for(self, body):
        """By the list; another class may look at what was asked."""
        return self.turns[min(self.given, len(self.turns) - 1)]

    def answer(self, handler, body):
        with self.lock:
            self.asked.append((handler.path, body))
            self.seen_headers.append(dict(handler.headers))
            turn = self.turn_for(body)
            self.given += 1
            number = self.given
        if isinstance(turn, Refusal):
            headers = {"x-should-retry": "true" if turn.retry else "false",
                       **{name.replace("_", "-"): value for name, value in turn.headers.items()}}
            handler.plain(turn.status, {"type": "error", "error": {
                "type": turn.kind, "message": turn.message}}, headers)
            return
        if turn.wait_s:
            threading.Event().wait(turn.wait_s)
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        try:
            for event in self.events(turn, number, body.get("model", "claude")):
                handler.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            handler.wfile.flush()
        except OSError:
            pass  # the client has gone: it was told to stop

    @staticmethod
    def events(turn, number, model):
        yield {"type": "message_start", "message": {
            "id": f"msg_{number}", "type": "message", "role": "assistant", "model": model,
            "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {**USAGE, "output_tokens": 1}}}
        blocks = []
        if turn.text:
            blocks.append(({"type": "text", "text": ""},
                           {"type": "text_delta", "text": turn.text}))
        if turn.tool:
            name, arguments = turn.tool
            blocks.append(({"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}},
                           {"type": "input_json_delta", "partial_json": json.dumps(arguments)}))
        for index, (start, delta) in enumerate(blocks):
            yield {"type": "content_block_start", "index": index, "content_block": start}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        yield {"type": "message_delta", "usage": {**USAGE, "output_tokens": turn.output_tokens},
               "delta": {"stop_reason": "tool_use" if turn.tool else "end_turn",
                         "stop_sequence": None}}
        yield {"type": "message_stop"}
