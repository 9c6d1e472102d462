# SPDX-License-Identifier: Apache-2.0
"""Speaks the wire protocol to an agent over a connected socket: the host's half, small, for tests. Standard library only.

One thread; every wait has a deadline. Layouts are those of libsandforge/wire/messages.hpp.
"""
import collections
import socket
import struct
import time

MAGIC, VERSION = 0x31574653, 1
(HELLO, WELCOME, OPEN, META, DATA, END, CREDIT, RESULT, SIGNAL, CANCEL, PING, PONG) = range(1, 13)
(EXEC, READ, WRITE, LIST, STAT, REMOVE, RENAME, MKDIR, CLOCK, ENTROPY, IDENTITY, SHUTDOWN) = range(1, 13)
CONTENT = STDIN = 0
STDOUT, STDERR = 1, 2
WINDOW = 256 * 1024
FRAME_MAX = 64 * 1024
CONTAINER, PROCESS = 0, 1
ENDED_BY = ["exit", "signal", "timeout", "oom", "output_cap", "killed", "policy", "vm_crash", "agent_lost"]
CODES = ["ok", "invalid_argument", "unsupported", "not_found", "denied", "conflict", "busy", "disconnected",
         "timed_out", "exhausted", "guest_fault", "corrupt", "internal"]


def text(value):
    value = value.encode() if isinstance(value, str) else bytes(value)
    return struct.pack("<I", len(value)) + value


def texts(values):
    return struct.pack("<I", len(values)) + b"".join(text(v) for v in values)


class Reader:
    """Reads a message field by field; finish() insists that nothing is left."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def text(self):
        (length,) = self.take("I")
        value = self.data[self.at:self.at + length]
        assert len(value) == length
        self.at += length
        return value

    def finish(self):
        assert self.at == len(self.data), "a tail after the message"


def file_info(data):
    reader = Reader(data)
    info = {"name": reader.text()}
    info["length"], info["mode"], info["uid"], info["gid"], info["mtime"], info["nsec"] = reader.take("QIIIqI")
    info["link"] = reader.text()
    reader.finish()
    return info


class AgentError(Exception):
    def __init__(self, code, errno, message):
        super().__init__(f"{CODES[code]}: {message}")
        self.code, self.errno, self.message = CODES[code], errno, message


class Stream:
    def __init__(self, connection, number):
        self.connection, self.number = connection, number
        self.meta = None
        self.out = collections.defaultdict(bytearray)
        self.total = collections.Counter()
        self.ended = set()
        self.result = None
        self.send_window = WINDOW
        self.owed = collections.Counter()
        self.auto_credit = True

    def data(self, payload, channel=STDIN):
        """Sends all of it, waiting for credit as needed."""
        payload = memoryview(payload)
        while payload:
            while self.send_window == 0 and self.result is None:
                self.connection.step()
            if self.result is not None:
                return
            n = min(len(payload), self.send_window, FRAME_MAX)
            self.connection.send(DATA, channel, self.number, payload[:n])
            self.send_window -= n
            payload = payload[n:]

    def end(self, channel=STDIN):
        self.connection.send(END, channel, self.number)

    def signal(self, number):
        self.connection.send(SIGNAL, 0, self.number, struct.pack("<I", number))

    def cancel(self):
        self.connection.send(CANCEL, 0, self.number)

    def credit(self, channel, count):
        self.connection.send(CREDIT, channel, self.number, struct.pack("<I", count))

    def wait(self, timeout=60):
        """The body of the result; AgentError when the operation failed."""
        self.connection.until(lambda: self.result is not None, timeout)
        code, errno, message, body = self.result
        if code != 0:
            raise AgentError(code, errno, message)
        return body

    def exec_result(self, timeout=60):
        reader = Reader(self.wait(timeout))
        result = {}
        result["ended_by"], result["exit_code"], result["signal"] = reader.take("Bii")
        (result["stdout_total"], result["stderr_total"], result["wall_ns"], result["cpu_ns"],
         result["memory_peak"]) = reader.take("QQQQQ")
        result["reason"] = reader.text().decode()
        reader.finish()
        result["ended_by"] = ENDED_BY[result["ended_by"]]
        result["stdout"], result["stderr"] = bytes(self.out[STDOUT]), bytes(self.out[STDERR])
        return result


class Connection:
    """`sock` is connected; says welcome at once unless told otherwise."""

    def __init__(self, sock, welcome=True, timeout=120, **identity):
        self.sock = sock
        self.streams = {}
        self.next_stream = 1
        self.buffer = bytearray()
        self.pongs = []
        self.closed = False
        self.hello = None
        if not welcome:
            return
        self.until(lambda: self.hello is not None, timeout)
        self.welcome(**identity)

    def welcome(self, hostname="", machine_id="", entropy=b"", realtime_ns=0, version=VERSION):
        payload = struct.pack("<IHIQq", MAGIC, version, 0, self.hello["nonce"], realtime_ns)
        self.send(WELCOME, 0, 0, payload + text(entropy) + text(hostname) + text(machine_id))

    def send(self, kind, flags, stream, payload=b""):
        self.raw(struct.pack("<IBBHI", len(payload), kind, flags, 0, stream) + bytes(payload))

    def raw(self, data):
        self.sock.settimeout(60)
        self.sock.sendall(data)

    def open(self, operation, request, number=None):
        number = number or self.next_stream
        self.next_stream = max(self.next_stream, number + 1)
        stream = self.streams[number] = Stream(self, number)
        self.send(OPEN, 0, number, struct.pack("<H", operation) + request)
        return stream

    def exec(self, argv, env=(), cwd="", user="", isolation=CONTAINER, stdin=False, timeout_ms=0, memory_max=0,
             pids_max=0, cpu_max_milli=0):
        request = texts(argv) + texts(env) + text(cwd) + text(user)
        request += struct.pack("<BBQQII", isolation, 1 if stdin else 0, timeout_ms, memory_max, pids_max, cpu_max_milli)
        return self.open(EXEC, request)

    def path(self, operation, path, mode=0, flag=0):
        return self.open(operation, text(path) + struct.pack("<IB", mode, flag))

    def read(self, path, offset=0, length=2**64 - 1):
        return self.open(READ, text(path) + struct.pack("<QQ", offset, length))

    def write(self, path, mode=0):
        return self.open(WRITE, text(path) + struct.pack("<I", mode))

    def rename(self, old, new):
        return self.open(RENAME, text(old) + text(new))

    def list(self, path):
        stream = self.path(LIST, path)
        stream.wait()
        entries, data = {}, bytes(stream.out[CONTENT])
        while data:
            (length,) = struct.unpack_from("<I", data)
            info = file_info(data[4:4 + length])
            entries[info["name"].decode()] = info
            data = data[4 + length:]
        return entries

    def until(self, condition, timeout=60):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the agent did not answer in time")
            self.step(left)

    def step(self, timeout=60):
        """Receives once and handles every whole frame."""
        if self.closed:
            raise ConnectionError("the agent closed the connection")
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(1 << 20)
        except socket.timeout:
            raise TimeoutError("the agent did not answer in time") from None
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        self.buffer += data
        while len(self.buffer) >= 12:
            length, kind, flags, zero, stream = struct.unpack_from("<IBBHI", self.buffer)
            assert zero == 0 and length <= 1 << 20, "a malformed frame from the agent"
            if len(self.buffer) < 12 + length:
                break
            payload = bytes(self.buffer[12:12 + length])
            del self.buffer[:12 + length]
            self.handle(kind, flags, stream, payload)

    def handle(self, kind, flags, number, payload):
        if kind == HELLO:
            reader = Reader(payload)
            magic, version, features, nonce, monotonic_ns = reader.take("IHIQQ")
            assert magic == MAGIC and version == VERSION
            self.hello = {"nonce": nonce, "features": features, "monotonic_ns": monotonic_ns,
                          "agent": reader.text(), "kernel": reader.text()}
            return
        if kind == PONG:
            self.pongs.append(payload)
            return
        stream = self.streams[number]
        assert stream.result is None, "a frame after Result"
        if kind == META:
            assert stream.meta is None and not stream.total, "Meta twice, or after data"
            stream.meta = payload
        elif kind == DATA:
            assert flags not in stream.ended, "Data after End"
            stream.out[flags] += payload
            stream.total[flags] += len(payload)
            stream.owed[flags] += len(payload)
            assert stream.owed[flags] <= WINDOW, "the agent sent beyond its window"
            if stream.auto_credit and stream.owed[flags] >= WINDOW // 2:
                self.give(stream, flags)
        elif kind == END:
            assert flags not in stream.ended, "End twice"
            stream.ended.add(flags)
        elif kind == CREDIT:
            stream.send_window += struct.unpack("<I", payload)[0]
            assert stream.send_window <= WINDOW
        elif kind == RESULT:
            reader = Reader(payload)
            code, errno = reader.take("Ii")
            message, body = reader.text().decode(errors="replace"), reader.text()
            reader.finish()
            stream.result = (code, errno, message, body)
        else:
            raise AssertionError(f"unexpected frame {kind}")

    def give(self, stream, channel):
        count, stream.owed[channel] = stream.owed[channel], 0
        if count:
            stream.credit(channel, count)
