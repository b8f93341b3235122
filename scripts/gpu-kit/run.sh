#!/usr/bin/env bash
# Unpacks the kit that lies beside this file, and runs it: see run.py for the options. Needs bash and Python 3.8, neither Rust nor Node.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# A folder for each kit, so that none runs in another's place.
sum=$(cksum < "$here/kit.tar.xz")
work=${GPU_KIT_WORK:-/tmp/resnet-gpu-kit}/${sum%% *}
if [ ! -e "$work/.unpacked" ]; then
  mkdir -p "$work"
  python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$here/kit.tar.xz" "$work"
  touch "$work/.unpacked"
fi
exec python3 "$work/run.py" "$@"
