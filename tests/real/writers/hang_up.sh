#!/bin/sh
# A postrotate script: hang_up.sh PID COUNT. Has the writer open its file again, and waits until its count says that it did.
set -eu
before=$(cat "$2")
kill -HUP "$1"
while [ "$(cat "$2")" = "$before" ]; do
  kill -0 "$1"
  sleep 0.01
done
