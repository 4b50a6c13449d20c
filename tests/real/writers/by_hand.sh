#!/bin/sh
# Rotate a file as an operator does by hand: by_hand.sh FILE NUMBER
# Writers that had it open get a moment before it is compressed: what is written after that is gone with any reader.
set -eu
rotated="$1.$(date +%Y%m%d-%H%M%S)-$2"
mv "$1" "$rotated"
touch "$1"
sleep 0.25
gzip "$rotated"
