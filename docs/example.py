#!/usr/bin/env python3
"""A confkit client in one file, with nothing but Python's standard library.

Written from docs/protocol.md alone; the numbers in comments are its sections.

    example.py list     conf://HOST[:PORT]/ROOM              who is in the room, and what they share; they do not see it
    example.py publish  conf://HOST[:PORT]/ROOM FILE.h264    sends an H.264 file (Annex B) as video
    example.py receive  conf://HOST[:PORT]/ROOM TRACK FILE   writes the pictures of a track into a file
    example.py say      conf://HOST[:PORT]/ROOM TEXT         says something and waits until it is relayed
    example.py read     conf://HOST[:PORT]/ROOM              prints the last 100 messages
    example.py send     conf://HOST[:PORT]/ROOM FILE         puts a file before the room
    example.py fetch    conf://HOST[:PORT]/ROOM OFFER DIR    writes what an offer holds below a directory

Options: --name NAME, --fps N (publish), --loop N times (publish), --pictures N (receive).
"""

import argparse
import hashlib
import json
import os
import queue
import socket
import struct
import sys
import threading
import time
import urllib.parse

LIMITS = {"video": 4194304, "file": 1048576}  # 2.5; 65536 for all others


def write_frame(kind, payload, **keys):
    """The bytes of one frame (2.1)."""
    header = {"type": kind, "timestamp": time.time(), "size": len(payload),
              "checksum": hashlib.md5(payload).hexdigest(), **keys}
    header = json.dumps(header).encode()
    return struct.pack(">I", len(header)) + header + payload


def read_frame(stream):
    """The next (header, payload), or None at the end (2.2 to 2.8)."""
    start = stream.read(4)
    if not start:
        return None
    if len(start) < 4:
        raise ValueError("the stream ended inside a frame")
    (length,) = struct.unpack(">I", start)
    if not 2 <= length <= 16384:
        raise ValueError(f"header length {length}")
    header = json.loads(stream.read(length))
    size = header["size"]
    if not 0 <= size <= LIMITS.get(header["type"], 65536):
        raise ValueError(f"{header['type']} payload of {size} bytes")
    payload = stream.read(size)
    if len(payload) < size:
        raise ValueError("the stream ended inside a frame")
    if hashlib.md5(payload).hexdigest() != header["checksum"].lower():
        return read_frame(stream)  # damaged: dropped, and the stream goes on behind it (2.6)
    return header, payload


class Room:
    """A connection to a room. Answers pings and sends its own in the background (5.6). To `look` is not to join (5.10)."""

    def __init__(self, address, name, subscribe=(), messages=None, look=False):
        url = urllib.parse.urlsplit(address)
        if url.scheme != "conf" or not url.hostname:
            raise SystemExit(f"{address}: expected conf://HOST[:PORT]/ROOM")
        self.socket = socket.create_connection((url.hostname, url.port or 2663), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.lock = threading.Lock()
        self.sent = time.monotonic()
        self.members, self.tracks = {}, {}
        self.control({"op": "hello", "protocol": [1, 1], "room": urllib.parse.unquote(url.path[1:]),
                      "name": name, "client": "example.py 1", "subscribe": list(subscribe),
                      **({"messages": messages} if messages else {}), **({"look": True} if look else {})})
        self.welcome, state = {}, self.expect("welcome", "state")
        if state["op"] == "welcome":  # also from a server that does not know how to look
            self.welcome, state = state, self.expect("state")
        while True:  # 4.3
            self.members.update((m["member"], m) for m in state["members"])
            self.tracks.update((t["track"], t) for t in state["tracks"])
            if not state.get("more", False):
                break
            state = self.expect("state")
        if not self.welcome:
            return self.socket.close()
        self.socket.settimeout(12)  # 5.6
        self.frames = queue.Queue(maxsize=300)
        threading.Thread(target=self.reader, daemon=True).start()
        threading.Thread(target=self.heart, daemon=True).start()

    def send(self, frame):
        with self.lock:
            self.socket.sendall(frame)
            self.sent = time.monotonic()

    def control(self, operation):
        self.send(write_frame("control", json.dumps(operation).encode()))

    def expect(self, *ops):
        """The next operation of one of these names; what else comes is not needed yet."""
        while True:
            frame = read_frame(self.stream)
            if frame is None:
                raise SystemExit("the server closed the connection")
            header, payload = frame
            if header["type"] != "control":
                continue
            operation = json.loads(payload)
            if operation["op"] in ops:
                return operation
            if operation["op"] in ("error", "goodbye"):
                raise SystemExit(f"refused: {operation.get('code')}: {operation.get('message')}")

    def reader(self):
        try:
            while (frame := read_frame(self.stream)) is not None:
                header, payload = frame
                operation = json.loads(payload) if header["type"] == "control" else None
                if operation and operation["op"] == "ping":
                    self.control({"op": "pong", "id": operation["id"]})
                else:
                    self.frames.put((header, operation or payload))
        except (OSError, ValueError) as error:
            print(f"example.py: {error}", file=sys.stderr)
        self.frames.put(None)

    def heart(self):
        """Pings whenever nothing else was sent for 4 s."""
        number = 0
        try:
            while True:
                time.sleep(max(0.1, self.sent + 4 - time.monotonic()))
                if time.monotonic() - self.sent >= 4:
                    number += 1
                    self.control({"op": "ping", "id": number})
        except OSError:
            pass  # closed

    def close(self):
        """Says goodbye and waits for the server's end, so that nothing that was sent is lost (5.8)."""
        if not self.welcome:
            return
        self.control({"op": "goodbye"})
        self.socket.shutdown(socket.SHUT_WR)
        while self.frames.get() is not None:
            pass


def access_units(data):
    """Cuts Annex B into pictures: (bytes, whether it is a key) (7.1, 7.3)."""
    starts, at = [], data.find(b"\0\0\1")
    while at >= 0:
        starts.append(at)
        at = data.find(b"\0\0\1", at + 3)
    unit, parameters, key, has_slice = b"", {}, False, False
    for begin, end in zip(starts, starts[1:] + [len(data)]):
        nal = data[begin + 3:end].rstrip(b"\0")
        if not nal:
            continue
        kind = nal[0] & 31
        is_slice = kind in (1, 5)
        # A slice that begins with the first macroblock, or what stands in front of one, begins a picture.
        if has_slice and ((is_slice and nal[1] & 0x80) or kind in (6, 7, 8, 9)):
            yield unit, key
            unit, key, has_slice = b"", False, False
        if kind in (7, 8):
            parameters[kind] = b"\0\0\0\1" + nal
        if kind == 5 and not has_slice:
            key = True
            # A key carries SPS and PPS, also where the file has them only once.
            missing = [parameters[k] for k in (7, 8) if k in parameters and parameters[k] not in unit]
            unit = b"".join(missing) + unit
        unit += b"\0\0\0\1" + nal
        has_slice |= is_slice
    if has_slice:
        yield unit, key


def list_room(room, _):
    for member in room.members.values():
        if member["member"] != room.welcome.get("member"):
            print(f"member {member['member']}: {member['name']} ({member.get('state', 'here')})")
    for t in room.tracks.values():
        owner = room.members[t["member"]]["name"]
        print(f"track {t['track']}: {owner}/{t['label']} {t['codec']} {t.get('width', 0)}x{t.get('height', 0)}")


def publish(room, options):
    with open(options.file, "rb") as file:
        pictures = list(access_units(file.read()))
    room.control({"op": "publish", "id": 1, "kind": "video", "label": options.label, "codec": "h264",
                  "fps": options.fps})
    while True:
        header, body = next_frame(room)
        if header["type"] == "control" and body["op"] == "published":
            track = body["track"]
            break
        if header["type"] == "control" and body["op"] == "error":
            raise SystemExit(f"refused: {body['code']}: {body.get('message')}")
    print(f"publishing {len(pictures)} pictures as track {track}", flush=True)
    start = time.monotonic()
    for seq, (unit, key) in enumerate(pictures * options.loop):
        time.sleep(max(0, start + seq / options.fps - time.monotonic()))
        pts = int(seq * 1_000_000 / options.fps)
        while not room.frames.empty():
            next_frame(room)  # changes in the room, and requests for a key that a file cannot answer
        room.send(write_frame("video", unit, track=track, seq=seq, pts=pts, key=key, rendition="high", tid=0))
    room.control({"op": "unpublish", "track": track})


def receive(room, options):
    room.control({"op": "subscribe", "tracks": [options.track]})
    count, begun = 0, False
    with open(options.file, "wb") as file:
        while count < options.pictures:
            header, body = next_frame(room)
            if header["type"] == "video" and header["track"] == options.track:
                begun |= header.get("key", False)
                if begun:
                    file.write(body)
                    count += 1
            elif header["type"] == "control" and body["op"] == "track_gone" and body["track"] == options.track:
                break
            elif header["type"] == "control" and body["op"] == "error":
                raise SystemExit(f"refused: {body['code']}: {body.get('message')}")
    print(f"received {count} pictures")


def say(room, options):
    payload = json.dumps({"kind": "text", "text": options.text}).encode()
    source = os.urandom(16).hex()  # 12.1
    room.send(write_frame("message", payload, source=source, n=1))
    while True:
        header, body = next_frame(room)
        if header["type"] == "control" and body["op"] == "ack" and body["source"] == source:
            break  # 12.4
        if header["type"] == "control" and body["op"] == "error":
            raise SystemExit(f"refused: {body['code']}: {body.get('message')}")


def read(room, _):
    while True:
        header, body = next_frame(room)
        if header["type"] == "message":  # 12.9
            said = json.loads(body)
            print(f"{header['seq']} {header['name']}: {said.get('text', '')!r}")
        elif header["type"] == "control" and body["op"] == "caught_up":  # 12.5
            break


CHUNK = 262144  # 13.5
WINDOW = 8388608


def piece(offer, part, index, payload):
    return write_frame("file", payload, offer=offer, part=part, index=index)


def answer(room, request):
    """The operation that answers a request; what comes before it is for the caller."""
    while True:
        header, body = next_frame(room)
        if header["type"] == "control" and body["op"] == "error" and body.get("id") == request:
            raise SystemExit(f"refused: {body['code']}: {body.get('message')}")
        yield header, body
        if header["type"] == "control" and body["op"] in ("offered", "done") and body["id"] == request \
                and not body.get("more"):
            return


def send(room, options):
    name, size = os.path.basename(options.file), os.path.getsize(options.file)
    room.control({"op": "offer", "id": 1, "offer": os.urandom(16).hex(), "chunk_size": CHUNK, "size": size})
    for header, body in answer(room, 1):
        pass
    offer = body["offer"]
    about = {"title": name, "files": 1, "size": size, "kind": "files", "first": [name]}  # 13.3
    entry = {"path": [name], "size": size, "mtime": int(os.path.getmtime(options.file))}  # 13.4
    room.send(piece(offer, "about", 0, json.dumps(about).encode()))
    room.send(piece(offer, "manifest", 0, json.dumps({"files": [entry]}).encode()))

    count, md5, flying, again = -(-size // CHUNK), hashlib.md5(), set(), []
    with open(options.file, "rb") as file:
        ahead = 0
        while ahead < count or flying:
            if again or ahead < count and (len(flying) + 1) * CHUNK <= WINDOW:
                index = again.pop() if again else ahead
                file.seek(index * CHUNK)
                chunk = file.read(CHUNK)
                if index == ahead:
                    md5.update(chunk)
                    ahead += 1
                flying.add(index)
                room.send(piece(offer, "chunk", index, chunk))
                if room.frames.empty():
                    continue
            header, body = next_frame(room)
            if header["type"] != "control":
                continue
            if body["op"] == "kept" and body["offer"] == offer:
                for begin, end in body["chunks"]:
                    flying.difference_update(range(begin, end))
            elif body["op"] == "error" and body.get("part") == "chunk" and body["code"] in ("checksum", "internal"):
                again.append(body["index"])
            elif body["op"] == "error":
                raise SystemExit(f"refused: {body['code']}: {body.get('message')}")
    sums = {"files": [{"md5": md5.hexdigest(), "size": size}]}  # 13.6
    room.send(piece(offer, "sums", 0, json.dumps(sums).encode()))
    room.control({"op": "seal", "id": 2, "offer": offer, "chunks": count, "manifest": 1, "sums": 1})
    for _ in answer(room, 2):
        pass
    print(f"offer {offer}", file=sys.stderr)
    print(f"{md5.hexdigest()}  {name}")


def pieces(room, request, offer, part):
    """Everything of one part of an offer, in order (13.8)."""
    room.control({"op": "fetch", "id": request, "offer": offer, "part": part, "ranges": [[0, None]]})
    for header, body in answer(room, request):
        if header["type"] == "file" and header["offer"] == offer and header["part"] == part:
            yield body


def listed(room, request, offer, part):
    return [entry for body in pieces(room, request, offer, part) for entry in json.loads(body)["files"]]


def check_names(entries):
    """Refuses a list that leads out of the directory, or means a file twice (13.4)."""
    files, above = set(), set()
    for entry in entries:
        path = tuple(name.casefold() for name in entry["path"])
        bad = not 1 <= len(path) <= 32 or any(
            name in ("", ".", "..") or len(name.encode()) > 255 or any(c in "/\\" or c < " " for c in name)
            for name in path)
        if bad or path in files:
            raise SystemExit("the list of files is not acceptable")
        files.add(path)
        above.update(path[:n] for n in range(1, len(path)))
    if above & {tuple(n.casefold() for n in e["path"]) for e in entries if not e.get("dir")}:
        raise SystemExit("the list of files is not acceptable")


def fetch(room, options):
    offer, entries = options.offer, listed(room, 1, options.offer, "manifest")
    check_names(entries)
    for entry in (e for e in entries if e.get("dir")):
        os.makedirs(os.path.join(options.directory, *entry["path"]), exist_ok=True)
    files = [e for e in entries if not e.get("dir")]
    stream = pieces(room, 2, offer, "chunk")
    rest, parts = b"", []
    for entry in files:
        path = os.path.join(options.directory, *entry["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        left, md5 = entry.get("size"), hashlib.md5()  # without a size: to the end of the stream
        with open(path + ".part", "xb") as file:
            while left is None or left > 0:
                rest = rest or next(stream, b"")
                if not rest:
                    break
                taken, rest = rest[:left], rest[len(rest) if left is None else left:]
                left = left and left - len(taken)
                md5.update(taken)
                file.write(taken)
            file.flush()
            os.fsync(file.fileno())
        parts.append((path, md5.hexdigest()))
    for _ in stream:
        raise SystemExit("there is more than the list says")
    sums = listed(room, 3, offer, "sums")
    for (path, md5), entry in zip(parts, sums, strict=True):
        if md5 != entry["md5"]:
            raise SystemExit(f"{path}.part is damaged")
        os.link(path + ".part", path)  # takes nobody's place
        os.unlink(path + ".part")
        print(f"{md5}  {path}")
    room.control({"op": "received", "offer": offer})  # 13.9


def next_frame(room):
    frame = room.frames.get()
    if frame is None:
        raise SystemExit("the connection ended")
    return frame


def main():
    parser = argparse.ArgumentParser(description="A confkit client from docs/protocol.md alone.")
    parser.add_argument("--name", default="example")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("list")
    one.add_argument("room")
    one.set_defaults(run=list_room, look=True)
    one = commands.add_parser("publish")
    one.add_argument("room")
    one.add_argument("file")
    one.add_argument("--fps", type=float, default=25)
    one.add_argument("--loop", type=int, default=1)
    one.add_argument("--label", default="file")
    one.set_defaults(run=publish)
    one = commands.add_parser("receive")
    one.add_argument("room")
    one.add_argument("track", type=int)
    one.add_argument("file")
    one.add_argument("--pictures", type=int, default=100)
    one.set_defaults(run=receive)
    one = commands.add_parser("say")
    one.add_argument("room")
    one.add_argument("text")
    one.set_defaults(run=say)
    one = commands.add_parser("read")
    one.add_argument("room")
    one.set_defaults(run=read, messages={"history": 100})
    one = commands.add_parser("send")
    one.add_argument("room")
    one.add_argument("file")
    one.set_defaults(run=send)
    one = commands.add_parser("fetch")
    one.add_argument("room")
    one.add_argument("offer", type=int)
    one.add_argument("directory")
    one.set_defaults(run=fetch)
    options = parser.parse_args()
    room = Room(options.room, options.name, messages=getattr(options, "messages", None),
                look=getattr(options, "look", False))
    options.run(room, options)
    room.close()


if __name__ == "__main__":
    main()
