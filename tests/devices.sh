#!/usr/bin/env bash
# conf-cam against a real V4L2 driver: the kernel's test camera (vivid) on an emulated machine.
#
#   tests/devices.sh         builds conf-cam, boots the lab, prints a line for each check; exit 0 when all hold
#   tests/devices.sh inside  the checks themselves, on a machine that has the camera as /dev/video0
#
# The lab is looked for in ../shared/lab/device-lab; DEVICE_LAB names another place. Without it: a word, and exit 0.
set -u
cd "$(dirname "$0")/.."
work=target/devices

if [[ ${1-} != inside ]]; then
  lab=${DEVICE_LAB:-../shared/lab/device-lab}
  if [[ ! -x $lab ]]; then echo "skipped: there is no device lab at $lab"; exit 0; fi
  cargo build --quiet --bin conf-cam || exit 1
  rm -rf "$work"; mkdir -p "$work"; cp target/debug/conf-cam "$work/"
  # The lab's emulator starter finds its own parts through PATH.
  export PATH="${XDG_CACHE_HOME:-$HOME/.cache}/device-lab/venv/bin:$PATH"
  exec "$lab" -t "${DEVICE_LIMIT:-240}" bash tests/devices.sh inside
fi

cam=$work/conf-cam
failed=0
check() { # NAME COMMAND...
  local name=$1; shift
  if "$@" >"$work/check.out" 2>&1; then echo "ok    $name"; else echo "FAIL  $name"; sed 's/^/      /' "$work/check.out"; failed=1; fi
}

# vivid's default picture is the 75 % bars with text over their upper part; a row near the bottom of the last picture of a
# Y4M file must show them in BT.601, limited range, within the tolerance of one conversion.
bars() { # FILE WIDTH HEIGHT
  python3 - "$@" <<'PY'
import sys
path, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = open(path, "rb").read()
frame = width * height * 3 // 2
header, _, rest = data.partition(b"\n")
assert f"W{width} H{height}".encode() in header, header
assert len(rest) % (frame + 6) == 0 and len(rest) >= 2 * (frame + 6), len(rest)
picture = rest[-frame:]
y, u, v = picture[:width * height], picture[width * height:width * height * 5 // 4], picture[width * height * 5 // 4:]
row = height * 9 // 10
expected = [(180, 128, 128), (162, 44, 142), (131, 156, 44), (112, 72, 58),
            (84, 184, 198), (65, 100, 212), (35, 212, 114), (16, 128, 128)]
bad = []
for bar, want in enumerate(expected):
    x = int((bar + 0.5) * width / 8)
    got = (y[row * width + x], u[row // 2 * (width // 2) + x // 2], v[row // 2 * (width // 2) + x // 2])
    if max(abs(a - b) for a, b in zip(got, want)) > 12:
        bad.append((bar, got, want))
print(bad)
sys.exit(bool(bad))
PY
}

says() { # CODE TEXT COMMAND...: ends with CODE and says TEXT
  local code=$1 text=$2 out rc; shift 2
  out=$(timeout 60 "$@" 2>&1 >/dev/null); rc=$?
  echo "exit $rc: $out"
  [[ $rc == "$code" && $out == *"$text"* ]]
}

small="--video camera:0 --size 320x180 --fps 5"
for format in yuyv nv12; do
  check "$format: captured" timeout 60 $cam $small --pixel-format $format --frames 4 -f y4m -o $work/$format.y4m
  check "$format: the colours of the bars" bars $work/$format.y4m 320 180
done

# A camera whose present format nobody here knows is set to one that is known.
v4l2-ctl -d0 --set-fmt-video=width=640,height=360,pixelformat=AYUV >/dev/null 2>&1
check "another program's format is no obstacle" timeout 60 $cam $small --frames 2 -f y4m -o $work/other.y4m

check "encoded" timeout 60 $cam $small --frames 6 -f h264 -o $work/take.h264
check "encoded: decodes" bash -c "
  timeout 60 $cam --video file:$work/take.h264 -f y4m -o $work/take.y4m --fps 20"
check "encoded: the colours of the bars" bars $work/take.y4m 320 180

check "the list names it" bash -c "$cam --list | tee $work/list | grep -q 'camera:0 .*vivid.*default' && grep -q NV12 $work/list"
check "the list as json" bash -c "$cam --list=json | python3 -c '
import json, sys
cameras = json.load(sys.stdin)[\"cameras\"]
assert cameras[0][\"id\"] == \"camera:0\" and cameras[0][\"default\"] and len(cameras[0][\"modes\"]) > 10'"
check "snapshot" bash -c "timeout 60 $cam $small --snapshot $work/shot.png && file $work/shot.png | grep -q '320 x 180'"

# C14: a second program on the same camera.
timeout 60 $cam $small -f y4m -o $work/first.y4m & first=$!
for _ in $(seq 100); do [[ -s $work/first.y4m ]] && break; read -rt 0.1 <> <(:); done
check "c14: a busy camera is named, exit 8" says 8 "/dev/video0 is in use" $cam $small --frames 1 -f y4m
kill -INT $first; wait $first; rc=$?
check "c07: Ctrl-C lets the camera go, exit 130" test $rc == 130
check "c07: and the next program gets it" timeout 60 $cam $small --frames 1 -f y4m -o $work/next.y4m

# C01: a user who is not in the group `video`.
chmod 600 /dev/video0
if command -v setpriv >/dev/null; then
  mkdir -p /tmp/bin && cp $cam /tmp/bin/ && chmod -R a+rx /tmp/bin
  check "c01: without permission the device and the group are named, exit 8" \
    says 8 "group \`video\`" setpriv --reuid 65534 --regid 65534 --clear-groups /tmp/bin/conf-cam $small --frames 1 -f y4m
fi

# C02: vivid's control that unplugs it: every call gives ENODEV, until the last program has closed the device. Only then the
# driver plugs it in again by itself, so whoever does not close it whole never gets it back.
said() { grep -c "$1" $work/lost.log; }
wait_for() { for _ in $(seq 250); do "$@" && return; read -rt 0.1 <> <(:); done; return 1; }
times() { (( $(said "$1") >= $2 )); }
grown() { (( $(stat -c %s $work/lost.h264) > $1 + 2000 )); }
timeout 120 $cam -v $small -f h264 -o $work/lost.h264 2>$work/lost.log & lost=$!
wait_for test -s $work/lost.h264
v4l2-ctl -d0 --set-ctrl=disconnect=1 >/dev/null 2>&1
check "c02: a lost camera is said and waited for" wait_for times 'waiting for the camera' 1
check "c02: it is opened again when it is back" wait_for times 'the camera is back' 1
check "c02: and pictures go on" wait_for grown $(stat -c %s $work/lost.h264)
check "c02: it is lost once only" test "$(said 'waiting for the camera')" == 1
# And the driver itself goes, with its devices, and comes.
echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind 2>/dev/null
check "c02: a camera whose driver goes is waited for" wait_for times 'waiting for the camera' 2
echo vivid.0 > /sys/bus/platform/drivers/vivid/bind 2>/dev/null
check "c02: it is opened again too" wait_for times 'the camera is back' 2
check "c02: and its pictures go on" wait_for grown $(stat -c %s $work/lost.h264)
check "c02: it was lost twice" test "$(said 'waiting for the camera')" == 2
kill -INT $lost; wait $lost; rc=$?
check "c02: and it ends in order" test $rc == 130
cat $work/lost.log

exit $failed
